"""For every test: a busy machine is no reason to fail."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("hypothesis") is not None:  # the environment of tests/ops has none
    from hypothesis import HealthCheck, settings

    # No assertion on time, Hypothesis's own included: two cores may be busy with six other things.
    settings.register_profile("dispatcher", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("dispatcher")
