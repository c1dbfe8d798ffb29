"""How hard the property tests try: by default a fixed slice, the same in each run; with `make fuzz` many that are drawn anew."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fuzz", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")
