"""What takes too long, or measures time, to be a test."""
