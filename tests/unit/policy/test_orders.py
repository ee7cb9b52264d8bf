"""Orders of operators: which jobs end, which wait, which go on."""

import pytest

from dispatcher.model import Status, Target
from dispatcher.policy.orders import Orders, as_numbers, parked
from dispatcher.protocol.job import DecodeLimits, decode_entry


def job(stream="normal", entry_id="2000-5", **fields):
    fields = {"message": '{"token":"t1","data":{"a":"1"}}', **fields}
    flat = [part.encode() for pair in fields.items() for part in pair]
    return decode_entry("p", stream, entry_id, flat, DecodeLimits())


def multicast(*tokens, **fields):
    listed = ",".join(f'"{token}"' for token in tokens)
    return job(message='{"data":{"a":"1"}}', tokens=f"[{listed}]", **fields)


def test_without_orders_there_is_nothing_to_look_up():
    assert not Orders()
    assert Orders().of(job()) is None


@pytest.mark.parametrize(
    ("orders", "reason"),
    [
        (Orders(ids=frozenset({"mine"})), "cancelled by its id"),
        (Orders(ids=frozenset({"2000-5"})), "cancelled by its id"),
        (Orders(campaigns=frozenset({"spring"})), "cancelled with campaign spring"),
        (Orders(cancelled_lanes={"normal": (2000, 5)}), "cancelled with all that was in lane normal"),
        (Orders(lanes=frozenset({"normal"}), ids=frozenset({"mine"})), "cancelled by its id"),
    ],
)
def test_a_cancelled_job_ends(orders, reason):
    verdict = orders.of(job(id="mine", campaign="spring"))
    assert (verdict.status, verdict.reason, verdict.counted) == (Status.CANCELLED, reason, False)


@pytest.mark.parametrize(
    "orders",
    [
        Orders(ids=frozenset({"other"})),
        Orders(campaigns=frozenset({"", "autumn"})),
        Orders(cancelled_lanes={"normal": (2000, 4), "bulk": (9000, 0)}),
        Orders(lanes=frozenset({"bulk"})),
        Orders(targets=frozenset({Target("token", "t2").key, Target("group", "t1").key})),
    ],
)
def test_what_is_not_meant_goes_on(orders):
    assert orders.of(job(id="mine")) is None


def test_a_lane_is_cancelled_up_to_an_entry_also_where_a_job_has_moved_on():
    orders = Orders(cancelled_lanes={"bulk": (2000, 5)})
    for entry_id, ends in (("2000-5", True), ("2000-6", False), ("1999-99", True), ("2001-0", False)):
        assert (orders.of(job("bulk", entry_id)) is not None) is ends
        at = as_numbers(entry_id)[0] / 1000
        again = job("due", "9000-0", _state=f'{{"id":"{entry_id}","lane":"bulk","at":{at}}}')
        assert (orders.of(again) is not None) is ends


def test_a_replay_comes_anew_after_its_lane_was_cancelled():
    orders = Orders(cancelled_lanes={"bulk": (2000, 5)})
    state = '{"id":"1000-0","lane":"bulk","at":3,"replay":1}'
    assert orders.of(job("bulk", "3000-0", _state=state)) is None
    assert orders.of(job("due", "3001-0", _state=state)) is None


def test_a_job_of_a_stopped_lane_waits():
    orders = Orders(lanes=frozenset({"bulk"}))
    assert orders.of(job("bulk")) == parked("lane:bulk")
    assert orders.of(job("due", _state='{"id":"1-0","lane":"bulk","at":0.001}')) == parked("lane:bulk")


def test_a_stopped_target_waits_each_on_its_own():
    key = Target("token", "t1").key
    orders = Orders(targets=frozenset({key, Target("token", "t2").key}))
    assert orders.of(job()) == parked(f"target:{key}")
    assert orders.of(multicast("t1", "t3")) is None
    assert orders.of(multicast("t1", "t2")) is None  # sending holds each back
    assert orders.of_target(key) == parked(f"target:{key}")
    assert orders.of_target(Target("token", "t3").key) is None
    assert parked(f"target:{key}").hold_target
    assert not parked("lane:bulk").hold_target
