"""For every test: a busy machine is no reason to fail."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No assertion on time, Hypothesis's own included: two cores may be busy with six other things.
settings.register_profile("dispatcher", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dispatcher")
