"""Few lines of a flood, and a count of the rest."""

import pytest
import structlog

from dispatcher.telemetry.sampling import MOST_KINDS, Sampler


class Log:
    def __init__(self, burst=2):
        self.now = 0.0
        self.sampler = Sampler(burst, 60.0, lambda: self.now)

    def __call__(self, event, **values):
        try:
            return self.sampler(None, "warning", {"event": event, **values})
        except structlog.DropEvent:
            return None


def test_the_first_lines_of_a_kind_pass_and_the_rest_do_not():
    log = Log(burst=2)
    assert [bool(log("lease_lost", project="p")) for _ in range(4)] == [True, True, False, False]


def test_the_next_window_says_how_many_were_kept_back():
    log = Log(burst=2)
    for _ in range(7):
        log("lease_lost", project="p")
    log.now = 60.0
    assert log("lease_lost", project="p") == {"event": "lease_lost", "project": "p", "suppressed": 5}
    log.now = 120.0
    assert "suppressed" not in log("lease_lost", project="p")


def test_projects_and_events_do_not_silence_each_other():
    log = Log(burst=1)
    assert log("lease_lost", project="p")
    assert log("lease_lost", project="q")
    assert log("project_paused", project="p")
    assert not log("lease_lost", project="p")


def test_what_may_kill_the_worker_is_always_named():
    log = Log(burst=1)
    assert all(log("jobs_reclaimed", project="p", crashes=1) for _ in range(5))


@pytest.mark.parametrize("count", [MOST_KINDS * 3])
def test_its_memory_is_bounded(count):
    log = Log()
    for n in range(count):
        log("unserved_jobs", project=f"p{n}")
    assert len(log.sampler._kinds) <= MOST_KINDS
