"""Tools for developing the provider; nothing here is part of it."""
