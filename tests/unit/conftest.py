from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None, max_examples=60, derandomize=True, database=None)
settings.load_profile("unit")
