"""dispatcher.policy.schedule"""

from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import TargetKind
from dispatcher.policy.schedule import INTERVALS, hold, passes


def test_every_kind_of_target_has_an_interval():
    assert set(INTERVALS) == set(get_args(TargetKind))
    assert {INTERVALS[kind] for kind in ("token", "fid", "group")} == {0.25}
    assert {INTERVALS[kind] for kind in ("topic", "condition")} == {1.0}
    assert INTERVALS["service"] == 0.0


def test_the_first_held_message_waits_for_the_end_of_the_pause_the_next_for_the_slot_after_it():
    slot, next_free = hold(0.0, until=160.0, now=100.0, interval=0.25)
    assert (slot, next_free) == (160.0, 160.25)
    assert hold(next_free, until=160.0, now=100.0, interval=0.25) == (160.25, 160.5)


def test_a_new_429_moves_the_schedule_on():
    assert hold(160.5, until=300.0, now=161.0, interval=0.25)[0] == 300.0


def test_no_slot_lies_in_the_past():
    assert hold(50.0, until=60.0, now=100.0, interval=1.0) == (100.0, 101.0)


def test_a_target_that_is_not_paused_lets_everything_pass():
    assert passes(0.0, next_free=0.0, until=0.0, now=100.0)
    assert passes(0.0, next_free=100.0, until=90.0, now=100.0)


def test_a_newer_message_queues_behind_those_that_wait():
    assert not passes(0.0, next_free=160.5, until=160.0, now=160.1)


def test_a_message_whose_slot_has_come_passes_although_later_slots_are_taken():
    assert passes(160.25, next_free=165.0, until=160.0, now=160.3)
    assert passes(160.0, next_free=165.0, until=160.0, now=160.0)


def test_a_message_waits_again_when_a_later_429_reached_past_its_slot():
    assert not passes(160.25, next_free=300.25, until=300.0, now=160.3)


def test_a_slot_that_has_not_come_does_not_pass():
    assert not passes(160.25, next_free=165.0, until=160.0, now=160.2)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 5), st.none() | st.floats(0, 120)), min_size=1, max_size=50),
    st.sampled_from([0.25, 1.0]),
)
def test_held_messages_come_back_in_order_one_by_one_and_never_within_the_pause(steps, interval):
    now, next_free, until = 1000.0, 0.0, 0.0
    slots = []
    for passed, throttled_for in steps:
        now += passed
        if throttled_for is not None:
            until = max(until, now + throttled_for)
        slot, next_free = hold(next_free, until, now, interval)
        assert slot >= max(now, until)
        if slots:
            assert slot >= slots[-1] + interval
        slots.append(slot)
        assert passes(slot, next_free, until, slot)
        if slot > now:
            assert not passes(slot, next_free, until, now)
            assert not passes(0.0, next_free, until, now)
