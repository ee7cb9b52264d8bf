"""dispatcher.pipeline.project: leases and watchers"""

from dispatcher.pipeline.project import Lease, Watcher


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
