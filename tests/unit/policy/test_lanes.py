"""dispatcher.policy.lanes"""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.policy.lanes import WEIGHTS, FairShare, LaneTurns

ALL = ("high", "due", "normal", "bulk")


def serve(turns, waiting, reads, size=1):
    served = Counter()
    for _ in range(reads):
        lane = turns.pick(waiting)
        turns.charge(lane, size)
        served[lane] += size
    return served


def test_lanes_share_8_4_3_1_while_all_have_work():
    assert serve(LaneTurns(), ALL, 1600, size=500) == {
        "high": 400_000,
        "due": 200_000,
        "normal": 150_000,
        "bulk": 50_000,
    }


def test_an_empty_lane_gives_its_share_away():
    assert serve(LaneTurns(), ("normal", "bulk"), 400) == {"normal": 300, "bulk": 100}
    assert serve(LaneTurns(), ("bulk",), 10) == {"bulk": 10}
    assert LaneTurns().pick(()) is None


def test_high_work_that_comes_late_is_read_next_whatever_was_served_before():
    turns = LaneTurns()
    serve(turns, ("bulk",), 1000, size=500)
    assert turns.pick(ALL) == "high"


def test_a_lane_that_was_idle_has_saved_nothing_up():
    turns = LaneTurns()
    serve(turns, ("bulk",), 1000)
    served = serve(turns, ALL, 1600)
    assert served["bulk"] >= 99


def test_looking_into_an_empty_lane_costs_it_nothing():
    turns = LaneTurns()
    for _ in range(100):
        assert turns.pick(ALL) == "high"


def test_shares_are_counted_in_messages_not_in_reads():
    turns = LaneTurns()
    served = Counter()
    for _ in range(2000):
        lane = turns.pick(("normal", "bulk"))
        size = 500 if lane == "bulk" else 1
        turns.charge(lane, size)
        served[lane] += size
    assert served["bulk"] <= served["normal"] / 3 + 500


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sets(st.sampled_from(ALL), min_size=1), st.integers(0, 500)), max_size=80))
def test_no_lane_that_always_has_work_starves(steps):
    turns = LaneTurns()
    since_bulk = Counter()
    for others, size in steps:
        lane = turns.pick(others | {"bulk"})
        turns.charge(lane, size)
        since_bulk = Counter() if lane == "bulk" else since_bulk + Counter({lane: size})
        # Between two turns of bulk (at most 500 messages each) every other gets its weight's worth, and one read.
        assert all(since_bulk[lane] <= 500 * WEIGHTS[lane] + 500 for lane in ALL)


def test_projects_take_turns():
    fair = FairShare(max_in_flight=20_000, batch_size=500)
    order = []
    for _ in range(6):
        project = fair.pick(["a", "b", "c"])
        order.append(project)
        fair.charge(project, 100)
    assert order == ["a", "b", "c"] * 2
    assert fair.pick([]) is None


def test_a_project_with_small_reads_is_read_more_often():
    fair = FairShare(20_000, 500)
    served = Counter()
    for _ in range(606):
        project = fair.pick(["big", "small"])
        size = 500 if project == "big" else 5
        fair.charge(project, size)
        served[project] += size
    assert served == {"big": 3000, "small": 3000}


def test_a_paused_project_gives_its_share_away_and_comes_back_without_savings():
    fair = FairShare(20_000, 500)
    for _ in range(50):
        fair.charge(fair.pick(["a"]), 500)
    turns = Counter()
    for _ in range(20):
        project = fair.pick(["a", "b"])
        fair.charge(project, 500)
        turns[project] += 1
    assert turns == {"a": 10, "b": 10}


def test_room_is_divided_by_the_active_projects_but_never_below_two_batches():
    fair = FairShare(max_in_flight=20_000, batch_size=500)
    assert [fair.share(active) for active in (0, 1, 2, 50)] == [20_000, 20_000, 10_000, 1_000]


def test_a_forgotten_project_starts_anew():
    fair = FairShare(20_000, 500)
    fair.charge("a", 500)
    fair.forget("a")
    fair.forget("unknown")
    assert fair._turns._tags == {}
