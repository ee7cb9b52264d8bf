"""Orders as they stand in the control hash."""

import pytest

from dispatcher.policy.orders import Orders
from dispatcher.queue.orders import Stop, read_orders, read_stops

HASH = {
    "pause:until": "5",
    "held": "3",
    "stop:target:tab12": "1500:topic news",
    "stop:lane:bulk": "2000:lane bulk",
    "stop:project": "1000:the whole project",
    "cancel:lane:normal": "900000:77-3",
    "cancel:campaign:a:b": "900000:",
    "cancel:id:x": "900000:",
    "cancel:id:over": "50000:",
}


def test_stops_are_told_with_the_project_first():
    assert read_stops(HASH) == [
        Stop("project", 1.0, "the whole project"),
        Stop("lane:bulk", 2.0, "lane bulk"),
        Stop("target:tab12", 1.5, "topic news"),
    ]


def test_orders_in_force_are_read_and_those_that_have_run_out_are_not():
    assert read_orders(HASH, 100.0) == Orders(
        lanes=frozenset({"bulk"}),
        targets=frozenset({"tab12"}),
        cancelled_lanes={"normal": (77, 3)},
        campaigns=frozenset({"a:b"}),
        ids=frozenset({"x"}),
    )


def test_no_orders_are_none_so_that_nobody_looks_them_up():
    assert read_orders({}, 100.0) is None
    assert read_orders({"stop:project": "1000:all", "held": "1"}, 100.0) is None
    assert read_orders({"cancel:id:x": "900000:"}, 901.0) is None


def test_fields_of_a_later_version_are_passed_over():
    assert read_orders({"stop:zone:x": "1:", "cancel:user:y": "900000:", "cancel:id": "z"}, 1.0) is None


@pytest.mark.parametrize("time", ["", "x", "-5", "1.5", "\u00b2", "9" * 5000])
def test_a_time_that_no_script_of_ours_has_written_stops_nobody(time):
    assert read_stops({"stop:project": f"{time}:all"}) == [Stop("project", 0.0, "all")]
    assert read_orders({"cancel:id:x": f"{time}:"}, 1.0) is None
