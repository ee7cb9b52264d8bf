"""The pool of HTTP/2 connections, where it decides without a network; with one: tests/integration/transport."""

import asyncio

import pytest
from h2.errors import ErrorCodes

from dispatcher.model import Fate
from dispatcher.transport import http2_pool
from dispatcher.transport.http2_call import Call
from dispatcher.transport.http2_connect import Place
from dispatcher.transport.http2_link import WAKES_WITHIN_S, Patience
from dispatcher.transport.http2_pool import Http2Pool
from dispatcher.transport.route import DIRECT

HEADERS = ((b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"fcm"), (b":path", b"/send"))
OTHERS = (*HEADERS[:3], (b":path", b"/others"))


@pytest.fixture
async def pool():
    made = Http2Pool(Place("127.0.0.1", 1, None, DIRECT), lambda: 3)
    yield made
    await made.aclose()


@pytest.fixture
def joined(pool, wired):
    """`joined(streams=10)`: a connection of the pool."""

    def make(streams: int = 10):
        wire = wired(pool._pump, streams=streams)
        wire.speak()
        pool._links.append(wire.link)
        return wire

    return make


def begin(pool, count: int, *, at_once: int = 1000, headers=HEADERS) -> Call:
    call = Call(headers, [b"{}"] * count, at_once, asyncio.get_running_loop().time())
    pool._running[call] = None
    pool._pump()
    return call


def rest(*wires) -> None:
    for wire in wires:
        wire.link._heard -= Patience().rest_s + 1


def opens(pool) -> bool:
    return pool._opening is not None


async def test_the_least_busy_connection_comes_first(pool, joined) -> None:
    first = joined()
    begin(pool, 4)
    second = joined()
    begin(pool, 4)
    assert [len(wire.requests) for wire in (first, second)] == [4, 4]
    assert not opens(pool)


async def test_where_there_is_no_room_one_connection_is_opened_and_no_second_beside_it(pool) -> None:
    begin(pool, 4)
    opening = pool._opening
    begin(pool, 4)
    assert opening is not None
    assert pool._opening is opening


async def test_what_was_being_opened_when_the_server_asked_for_http1_changes_nothing(
    pool, joined, wired, monkeypatch
) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()
    later = wired(pool._pump)
    later.speak()

    async def connect(*_: object):
        begun.set()
        await gate.wait()
        return later.link

    monkeypatch.setattr(http2_pool, "connect", connect)
    monkeypatch.setattr(http2_pool, "OPEN_EVERY_S", 0.0)
    first = joined(streams=1)
    begin(pool, 4)
    opening = pool._opening
    await begun.wait()
    first.h2.reset_stream(first.whole[0], ErrorCodes.HTTP_1_1_REQUIRED)
    first.speak()
    assert pool.lacks_http2()
    gate.set()
    await opening
    assert (pool.opened, pool.lacks_http2()) == (1, True)


async def test_no_more_connections_than_there_may_be(pool, joined) -> None:
    for _ in range(3):
        joined()
    begin(pool, 400)
    assert not opens(pool)


@pytest.mark.parametrize(("old", "opened"), [(5, True), (6, False)])
async def test_those_past_their_age_make_room_for_others_up_to_twice_as_many(
    pool, joined, old: int, opened: bool
) -> None:
    wires = [joined() for _ in range(old)]
    for wire in wires:
        wire.link._old_at = 0.0
    begin(pool, 4)
    assert opens(pool) is opened
    assert not any(wire.requests for wire in wires)


async def test_what_is_at_rest_is_asked_and_what_waits_goes_there_when_it_answers(pool, joined) -> None:
    wire = joined()
    rest(wire)
    call = begin(pool, 4)
    assert (wire.pings, len(wire.requests), opens(pool)) == (1, 0, False)
    wire.speak()
    assert (wire.pings, len(wire.requests), call.under_way, opens(pool)) == (1, 4, 4, False)


async def test_only_as_many_are_asked_as_it_takes(pool, joined) -> None:
    wires = [joined() for _ in range(3)]
    rest(*wires)
    begin(pool, 12)
    assert [wire.pings for wire in wires] == [1, 1, 0]
    assert not opens(pool)


async def test_what_was_used_lately_goes_before_what_is_at_rest(pool, joined) -> None:
    resting, fresh = joined(), joined()
    rest(resting)
    begin(pool, 4)
    assert (resting.pings, len(fresh.requests), opens(pool)) == (0, 4, False)


async def test_another_is_opened_at_once_where_those_at_rest_are_not_enough(pool, joined) -> None:
    wire = joined()
    rest(wire)
    begin(pool, 11)
    assert (wire.pings, opens(pool)) == (1, True)


async def test_another_is_opened_when_an_answer_is_late(pool, joined) -> None:
    wire = joined()
    rest(wire)
    begin(pool, 4)
    wire.link._pinged_at -= WAKES_WITHIN_S
    wire.link._heard -= WAKES_WITHIN_S
    wire.link._look()
    assert (wire.pings, len(wire.requests), opens(pool)) == (1, 0, True)


async def test_a_connection_that_was_given_up_at_rest_takes_no_message_with_it(pool, joined) -> None:
    wire = joined()
    rest(wire)
    call = begin(pool, 4)
    wire.link._pinged_at -= Patience().silence_s
    wire.link._heard -= Patience().silence_s
    wire.link._look()
    assert (wire.link.gone, pool.connections, call.room) == (True, 0, 4)
    assert opens(pool)


async def test_a_project_leaves_streams_for_the_others(pool, joined) -> None:
    joined(streams=90)
    assert begin(pool, 400).under_way == 80
    assert begin(pool, 400, headers=OTHERS).under_way == 8


async def test_after_the_end_nothing_is_sent_and_nothing_is_opened(pool) -> None:
    pool.cut_off()
    call = Call(HEADERS, [b"{}"] * 2, 10, asyncio.get_running_loop().time())
    await pool.run(call, 15.0)
    assert {response.error.fate for response in call.responses} == {Fate.NOT_SENT}
    assert not opens(pool)
