"""Reconnecting: from one second to a minute, and back to one second after a connection that held."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy.reconnect import STABLE_S, Reconnect


def after(failures, chance=0.0):
    reconnect, now = Reconnect(), 0.0
    for _ in range(failures):
        now += reconnect.wait(now)
        reconnect.failed(now, chance)
    return reconnect.wait(now)


def test_the_first_attempt_waits_for_nothing():
    assert Reconnect().wait(0.0) == 0.0


def test_waits_double_from_one_second_up_to_the_cap():
    assert [after(n) for n in range(1, 9)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 40.0, 40.0]


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_shorter_than_its_step_or_longer_than_a_minute(failures, chance):
    assert after(failures) <= after(failures, chance) <= 60.0


def test_connections_that_are_lost_together_are_one_failure():
    reconnect = Reconnect()
    for opened in (1.0, 1.1, 1.2):
        reconnect.lost(opened, 10.0, 0.0)
    assert reconnect.wait(10.0) == 1.0


def test_a_server_that_ends_every_connection_at_once_is_asked_ever_later():
    reconnect, now, waits = Reconnect(), 0.0, []
    for _ in range(4):
        opened = now + 0.1
        now = opened + 0.1
        reconnect.lost(opened, now, 0.0)
        waits.append(reconnect.wait(now))
        now += waits[-1]
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_after_a_connection_that_held_the_waits_begin_anew():
    reconnect = Reconnect()
    for at in (0.0, 1.0, 3.0):
        reconnect.failed(at, 0.0)
    reconnect.lost(7.0, 7.0 + STABLE_S, 0.0)
    assert reconnect.wait(7.0 + STABLE_S) == 1.0


def test_one_that_still_holds_counts_as_well():
    reconnect = Reconnect()
    for at in (0.0, 1.0, 3.0):
        reconnect.failed(at, 0.0)
    reconnect.held(7.0, 7.0 + STABLE_S)
    reconnect.failed(40.0, 0.0)
    assert reconnect.wait(40.0) == 1.0
