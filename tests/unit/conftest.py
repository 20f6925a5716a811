from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # the machine may be
    max_examples=60,
    derandomize=True,
    database=None,
)
settings.load_profile("unit")
