"""For every test: a busy machine is no reason to fail. And one seed for the fault scenarios, whoever runs them."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from harness import report

if find_spec("hypothesis") is not None:  # the environment of tests/ops has none
    from hypothesis import HealthCheck, settings

    # No assertion on time, Hypothesis's own included: two cores may be busy with six other things.
    settings.register_profile("dispatcher", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("dispatcher")

FAULTS = "e2e/faults/"

# Chosen before the fault scenarios are loaded and before xdist starts its processes, which inherit it.
os.environ["FAULT_SEED"] = os.environ.get("FAULT_SEED") or str(random.SystemRandom().randrange(10**6))


def pytest_configure(config: pytest.Config) -> None:
    """The run begins."""
    if threading.current_thread() is threading.main_thread():
        # Who starts in the background of a shell has SIGINT ignored, and with it all that the tests start to interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[_BEGAN] = time.monotonic()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The seed, and what the fault scenarios came to: also under xdist, whose processes print nothing."""
    stats = terminalreporter.stats
    passed, failed = ([r for r in stats.get(name, []) if FAULTS in r.nodeid] for name in ("passed", "failed"))
    if not (passed or failed):
        return
    seed = os.environ["FAULT_SEED"]
    rows = report.gather(passed)
    run = {
        "seed": int(seed),
        "passed": len(passed),
        "failed": len(failed),
        "took_s": time.monotonic() - config.stash[_BEGAN],
        "processors": os.cpu_count(),
        "load": report.load_average(),
        "redis": report.redis_version(),
    }
    terminalreporter.write_sep("-", f"fault scenarios, FAULT_SEED={seed} repeats this run")
    if rows:
        terminalreporter.write_line(report.table(rows))
        terminalreporter.write_line(report.beside(rows))
    terminalreporter.write_line(report.describe(run))
    if path := os.environ.get("FAULT_REPORT"):
        report.write(Path(path), run, rows)


_BEGAN = pytest.StashKey[float]()
