"""One HTTP/2 connection: when it has room, when it is asked for a sign of life, and when it is given up."""

import asyncio

import pytest

from dispatcher.model import Fate
from dispatcher.transport.http2_call import Call
from dispatcher.transport.http2_link import PINGS, WAKES_WITHIN_S, Patience

HEADERS = ((b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"fcm"), (b":path", b"/send"))
REST_S = Patience().rest_s
SILENCE_S = Patience().silence_s


@pytest.fixture
async def wire(wired):
    """A connection that is ready, with 10 streams."""
    made = wired()
    made.speak()
    return made


def start(wire, count: int) -> Call:
    now = asyncio.get_running_loop().time()
    call = Call(HEADERS, [b"{}"] * count, 1000, now)
    for _ in range(count):
        wire.link.start(HEADERS, call, call.waiting.popleft(), b"{}", now)
    wire.link.flush()
    return call


def pass_by(wire, seconds: float) -> None:
    """As if it had all been earlier."""
    for name in ("_heard", "_used", "_pinged_at", "_old_at"):
        setattr(wire.link, name, getattr(wire.link, name) - seconds)


def fates(call: Call) -> list[str]:
    return [response.error.fate if response.error else "accepted" for response in call.responses]


async def test_before_the_servers_settings_there_is_no_room_and_then_as_much_as_they_say(wired) -> None:
    wire = wired(streams=7)
    assert (wire.link.room, wire.link.ready.done()) == (0, False)
    wire.speak()
    assert (wire.link.room, wire.link.ready.result()) == (7, "")
    start(wire, 5)
    assert (wire.link.room, wire.link.busy) == (2, 5)


async def test_at_rest_it_has_no_room_until_it_has_answered(wire) -> None:
    pass_by(wire, REST_S + 1)
    assert wire.link.room == 0
    assert wire.link.wake() == 10
    assert wire.link.room == 0
    wire.speak()
    assert (wire.link.room, wire.pings) == (10, 1)


async def test_it_is_asked_once_a_use_however_many_want_it(wire) -> None:
    pass_by(wire, REST_S + 1)
    assert [wire.link.wake() for _ in range(5)] == [10] * 5
    wire.speak()
    assert [wire.link.wake() for _ in range(5)] == [0] * 5
    assert wire.pings == 1


async def test_it_is_not_asked_while_it_was_heard_of_lately_or_has_requests_under_way(wire) -> None:
    pass_by(wire, REST_S - 1)
    assert (wire.link.wake(), wire.link.room) == (0, 10)
    start(wire, 3)
    pass_by(wire, REST_S + 1)
    assert (wire.link.wake(), wire.link.room) == (0, 7)
    assert wire.pings == 0


async def test_it_is_not_counted_on_when_its_answer_is_late_but_may_still_give_one(wire) -> None:
    pass_by(wire, REST_S + 1)
    wire.link.wake()
    pass_by(wire, WAKES_WITHIN_S)
    assert wire.link.wake() == 0
    wire.speak()
    assert (wire.link.room, wire.pings) == (10, 1)


async def test_while_its_answer_is_awaited_who_waits_for_it_is_told_to_look_again(wired) -> None:
    told = []
    wire = wired(lambda: told.append(1))
    wire.speak()
    pass_by(wire, REST_S + 1)
    wire.link.wake()
    told.clear()
    wire.link._look()
    assert told


async def test_at_rest_and_silent_it_is_given_up(wire) -> None:
    pass_by(wire, REST_S + 1)
    wire.link.wake()
    pass_by(wire, SILENCE_S)
    wire.link._look()
    assert (wire.link.gone, wire.open, wire.requests) == (True, False, [])


async def test_asked_as_often_as_it_may_be_without_a_request_in_between_it_is_closed(wire) -> None:
    for _ in range(PINGS):
        pass_by(wire, REST_S + 1)
        assert wire.link.wake() == 10
        wire.speak()
    pass_by(wire, REST_S + 1)
    assert wire.link.wake() == 0
    assert (wire.link.gone, wire.open, wire.pings) == (True, False, PINGS)


async def test_an_answer_lets_it_be_asked_again(wire) -> None:
    for _ in range(PINGS + 3):
        pass_by(wire, REST_S + 1)
        assert wire.link.wake() == 10
        wire.speak()
        call = start(wire, 1)
        wire.answer(wire.whole[-1])
        assert fates(call) == ["accepted"]
    assert (wire.pings, wire.link.gone) == (PINGS + 3, False)


async def test_silent_with_requests_under_way_it_is_asked_has_no_room_and_is_given_up(wire) -> None:
    call = start(wire, 2)
    pass_by(wire, SILENCE_S)
    wire.link._look()
    assert (wire.pings, wire.link.room) == (1, 0)
    pass_by(wire, SILENCE_S)
    wire.link._look()
    assert wire.link.gone
    assert fates(call) == [Fate.UNKNOWN] * 2


async def test_asked_as_often_as_it_may_be_it_takes_nothing_new_in_silence(wire) -> None:
    start(wire, 1)
    for _ in range(PINGS):
        pass_by(wire, SILENCE_S + 1)
        wire.link._look()
        wire.speak()
    assert (wire.pings, wire.link.room) == (PINGS, 9)
    pass_by(wire, REST_S + 1)
    wire.link._look()
    assert (wire.pings, wire.link.room, wire.link.wake(), wire.link.retired) == (PINGS, 0, 0, False)
    wire.answer(*wire.whole)
    assert wire.link.room == 10


async def test_between_two_answers_it_is_asked_twice_at_most_and_after_10_s_of_silence_takes_nothing_new(
    wire,
) -> None:
    # In figures, and not by the limits' names: a third PING without data is abuse to gRPC's servers.
    start(wire, 1)
    for _ in range(5):
        pass_by(wire, 9)
        assert wire.link.room == 9
        wire.link._look()
        wire.speak()
    assert wire.pings == 2
    pass_by(wire, 11)
    assert wire.link.room == 0
    wire.answer(*wire.whole)
    assert wire.link.room == 10


async def test_at_rest_it_is_asked_twice_at_most_between_two_answers(wire) -> None:
    for _ in range(5):
        pass_by(wire, 11)
        wire.link.wake()
        if wire.link.gone:
            break
        wire.speak()
    assert (wire.pings, wire.link.gone) == (2, True)


async def test_past_its_age_it_takes_nothing_new_and_closes_after_the_last_answer(wire) -> None:
    call = start(wire, 2)
    wire.link._old_at -= 2 * Patience().age_s
    assert (wire.link.room, wire.link.wake(), wire.link.retired) == (0, 0, True)
    wire.link._look()
    assert not wire.link.gone
    wire.answer(*wire.whole)
    assert fates(call) == ["accepted"] * 2
    wire.link._look()
    assert (wire.link.gone, wire.open) == (True, False)


async def test_unused_for_long_it_is_closed_and_in_use_it_is_not(wired) -> None:
    unused, used = wired(), wired()
    for wire in (unused, used):
        wire.speak()
    start(used, 1)
    for wire in (unused, used):
        wire.link._used -= Patience().idle_s + 1
        wire.link._look()
    assert (unused.link.gone, used.link.gone) == (True, False)
