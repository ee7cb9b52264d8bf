"""dispatcher.pipeline.project: leases and watchers"""

from dispatcher.pipeline.project import Lease, Watcher, batch_limit
from dispatcher.settings import ProjectSettings


def test_a_lease_holds_until_it_ends():
    lease = Lease()
    assert not lease.holds(0.0)
    lease.valid_until = 15.0
    assert lease.holds(14.9)
    assert not lease.holds(15.0)


def test_a_watcher_waits_for_all_its_entries():
    watcher = Watcher("normal", ["1-0", "2-0"])
    watcher.settled("normal", ["1-0"])
    assert not watcher.done.is_set()
    watcher.settled("normal", ["2-0", "3-0"])
    assert watcher.done.is_set()


def test_a_watcher_does_not_take_another_streams_entry_for_its_own():
    """Ids are given by the millisecond: two streams often have the same."""
    watcher = Watcher("normal", ["1-0"])
    watcher.settled("high", ["1-0"])
    assert not watcher.done.is_set()


def limit(**settings):
    return batch_limit(ProjectSettings(id="p", **{"quota_per_minute": 10_000_000, **settings}))


def test_a_batch_is_what_its_wire_can_take_and_the_quota_s_burst():
    assert limit(transport="batch") == 500
    assert limit(transport="legacy") == 1000
    assert limit(transport="legacy", batch_size=200) == 200
    assert limit(transport="legacy", quota_per_minute=600) == 4
