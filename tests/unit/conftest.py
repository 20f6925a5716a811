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
settings.register_profile("fuzz", settings.get_profile("unit"), max_examples=2_000, derandomize=False)
settings.load_profile("unit")
