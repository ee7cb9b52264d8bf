"""A fleet on a simulated clock: what benchmarks/fleet.py shows at length, in small."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.simulation.fleet import Fleet
from benchmarks.simulation.service import Trouble

QUOTA = 60_000
RATE = QUOTA / 60 * 0.9
ENDLESS = 10**9


def fleet(workers=4, projects=2, messages=ENDLESS, **more):
    return Fleet(
        workers, projects, messages, **{"seed": 3, "per_minute": QUOTA, "cost_s": 2e-5, "grain": 50, **more}
    )


@pytest.mark.parametrize("workers", [1, 4, 30])
def test_quotas_are_used_and_never_exceeded(workers):
    it = fleet(workers)
    it.run(130)
    for project in it.queues:
        assert it.service.between(project, 5, 130) >= 0.98 * RATE * 125
        assert it.service.most_in(project, 60) <= QUOTA
    assert it.service.over_quota == 0


def test_many_workers_ask_for_little_more_quota_than_few():
    asks = {}
    for workers in (2, 40):
        it = fleet(workers, projects=1)
        it.run(60)
        asks[workers] = it.queues["p0"].asks
    assert asks[40] < 12 * asks[2]


def test_a_shared_outage_ends_without_a_herd():
    it = fleet(troubles=(Trouble(20, 50),))
    it.run(200)
    for project in it.queues:
        # All of it at once would be thirty seconds' worth; the bucket holds half a second, and latency spreads the rest.
        assert it.service.most_in(project, 1, 50) <= 2 * RATE
        assert it.service.most_in(project, 10, 50) <= 1.1 * 10 * RATE
        assert it.service.most_in(project, 60) <= QUOTA
        assert it.service.between(project, 60, 200) >= 0.95 * RATE * 140


def test_an_outage_below_the_quota_is_borne_by_retries_that_come_apart():
    """Where the quota would let through three times as much, only backoff and the retry budget hold back."""
    load = RATE / 3
    it = fleet(2, projects=1, a_second=load, grain=10, troubles=(Trouble(20, 50),))
    it.run(500)
    assert it.service.between("p0", 20, 50) <= 1.25 * 30 * load
    assert it.service.most_in("p0", 10, 50) <= 2.2 * 10 * load
    assert set(it.queues["p0"].ended) == {"accepted"}
    assert not it.queues["p0"].delayed


def test_a_project_that_is_granted_less_than_was_configured_is_hardly_refused():
    it = fleet(projects=1, granted=QUOTA // 2)
    it.run(400)
    accepted = it.service.accepted["p0"]
    assert it.service.over_quota <= 0.1 * accepted
    assert accepted >= 0.3 * QUOTA / 2 / 60 * 400


def test_a_campaign_ends_with_an_outcome_for_each_message():
    it = fleet(workers=3, messages=50_000, troubles=(Trouble(10, 20),))
    it.run(3600, to_the_end=True)
    ended = Counter()
    for queue in it.queues.values():
        ended += Counter(queue.ended)
    assert sum(ended.values()) == 100_000
    assert ended["accepted"] == it.service.accepted.total()


def test_the_same_seed_gives_the_same_figures():
    runs = [fleet(troubles=(Trouble(5, 10),)) for _ in range(2)]
    for it in runs:
        it.run(30)
    first, second = (it.service.arrivals for it in runs)
    assert first == second
