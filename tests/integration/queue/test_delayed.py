from __future__ import annotations

import json

import msgspec
import pytest

from dispatcher.errors import QueueFull
from dispatcher.model import JobState
from dispatcher.queue.settlement import Delayed, Hold, Settled

P = "p"
DUE = f"fcm:{{{P}}}:jobs:due"
DELAYED = f"fcm:{{{P}}}:delayed"


def job(member, due, *fields):
    return Delayed(member, due, json.dumps(list(fields) or ["message", member]).encode())


async def test_only_what_is_due_is_moved_in_order_of_time(queue, redis_client):
    now = await queue.ping()
    await queue.delay(P, [job("later", now + 1000), job("b", now - 1), job("a", now - 2)])
    promotion = await queue.promote(P)
    assert (promotion.moved, promotion.paused) == (2, False)
    assert promotion.next_due == pytest.approx(now + 1000, abs=0.01)
    assert [f for _, f in await queue.read(P, "due", 10)] == [[b"message", b"a"], [b"message", b"b"]]
    assert await redis_client.hkeys(DELAYED + ":jobs") == [b"later"]


async def test_a_call_moves_no_more_than_its_limit(queue):
    await queue.delay(P, [job(f"{n:03}", n) for n in range(450)])
    moved = [(await queue.promote(P)).moved for _ in range(4)]
    assert moved == [200, 200, 50, 0]
    assert (await queue.promote(P)).next_due is None


async def test_adding_twice_adds_once_and_keeps_the_first(queue, redis_client):
    assert await queue.delay(P, [job("m", 100, "message", "first")]) == 1
    assert await queue.delay(P, [job("m", 5, "message", "second")]) == 0
    assert await redis_client.zrange(DELAYED, 0, -1, withscores=True) == [(b"m", 100_000.0)]
    await queue.promote(P)
    assert [f for _, f in await queue.read(P, "due", 10)] == [[b"message", b"first"]]


async def test_many_jobs_are_added_over_several_calls(queue, redis_client):
    assert await queue.delay(P, [job(str(n), 1e9) for n in range(1200)]) == 1200
    assert await redis_client.zcard(DELAYED) == 1200


async def test_a_full_redis_refuses_producers_but_goes_on_promoting(queue, redis_client):
    await queue.delay(P, [job("m", 5)])
    await redis_client.config_set("maxmemory", 1)
    with pytest.raises(QueueFull):
        await queue.delay(P, [job("n", 5)])
    assert (await queue.promote(P)).moved == 1


async def test_nothing_is_promoted_while_the_project_is_paused(queue):
    await queue.delay(P, [job("m", 5)])
    pause = await queue.pause_project(P, 0, "quota")
    promotion = await queue.promote(P)
    assert (promotion.moved, promotion.paused) == (0, True)
    assert promotion.next_due == pytest.approx(pause.until)


async def test_a_held_message_learns_its_slot(queue, redis_client):
    state = msgspec.json.encode(JobState("1-0", "bulk", 1.5, sends=3)).decode()
    fields = json.dumps(["message", '{"a":"\u00e9\\u0000/"}', "_state", state]).encode()
    await redis_client.xadd(f"fcm:{{{P}}}:jobs:bulk", {"message": "x"})
    await queue.acquire(P, 1, 30)
    [(entry_id, _)] = await queue.read(P, "bulk", 1)
    reply = await queue.settle(
        P, "bulk", 1, [Settled(entry_id, b"", False, [Delayed("m", 0, fields, Hold("tk", 1))])]
    )
    assert (await queue.promote(P)).moved == 1
    [(_, flat)] = await queue.read(P, "due", 1)
    assert flat[:3] == [b"message", '{"a":"\u00e9\\u0000/"}'.encode(), b"_state"]
    held = msgspec.json.decode(flat[3], type=JobState)
    assert held == JobState("1-0", "bulk", 1.5, sends=3, slot=held.slot)
    assert held.slot == pytest.approx(reply.now, abs=0.002)


@pytest.mark.parametrize("broken", [b"nonsense", b"[]", b'["odd"]', b'["message",null]', b"{}", b"S"])
async def test_what_cannot_be_read_is_passed_on_to_be_refused(queue, broken):
    await queue.delay(P, [Delayed("m", 5, broken)])
    assert (await queue.promote(P)).moved == 1
    [(_, flat)] = await queue.read(P, "due", 1)
    assert flat == [b"message", broken.removeprefix(b"S")]


async def test_a_member_without_fields_is_dropped_from_the_set(queue, redis_client):
    await redis_client.zadd(DELAYED, {"ghost": 5})
    await queue.promote(P)
    assert await redis_client.exists(DELAYED, DUE) == 0


async def test_past_pauses_are_pruned(queue, redis_client):
    await redis_client.zadd(f"fcm:{{{P}}}:pauses", {"told": 1, "tnew": 1e13})
    assert await queue.prune_pauses(P) == 1
    assert await queue.paused(P, ["told", "tnew"]) == [(0.0, 0.0), (1e10, 0.0)]
    assert await queue.paused(P, []) == []
