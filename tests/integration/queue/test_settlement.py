from __future__ import annotations

import gc
import json
import sys

import pytest

from dispatcher.errors import QueueFull, QueueMisconfigured
from dispatcher.queue.settlement import Delayed, Hold, Settled

P = "demo-orchard-41"
LANE = f"fcm:{{{P}}}:jobs:normal"
OUTCOMES = f"fcm:{{{P}}}:outcomes"
DEAD = f"fcm:{{{P}}}:dead"
DELAYED = f"fcm:{{{P}}}:delayed"
PAUSES = f"fcm:{{{P}}}:pauses"


def outcome(job: str, **more) -> bytes:
    return json.dumps({"job": job, "status": "accepted", **more}, separators=(",", ":")).encode()


def array(ids, **more) -> bytes:
    return b"[%b]" % b",".join(outcome(i, **more) for i in ids)


async def take(queue, redis_client, n=3, epoch=1):
    """n fresh entries, read by this worker under its lease."""
    for i in range(n):
        await redis_client.xadd(LANE, {"message": f"{{{i}}}"})
    await queue.acquire(P, epoch, 30)
    return [entry_id for entry_id, _ in await queue.read(P, "normal", n)]


async def recorded(redis_client):
    entries = await redis_client.xrange(OUTCOMES)
    return [json.loads(fields[b"outcomes"]) for _, fields in entries]


async def test_a_batch_leaves_one_outcome_entry_and_an_empty_lane(queue, redis_client):
    ids = await take(queue, redis_client)
    reply = await queue.settle(P, "normal", 1, [Settled(i, outcome(i)) for i in ids])
    assert (reply.live, reply.stale, reply.late) == (3, [], 0)
    assert [[o["job"] for o in entry] for entry in await recorded(redis_client)] == [ids]
    assert await redis_client.xlen(LANE) == 0
    assert (await redis_client.xpending(LANE, "dispatcher"))["pending"] == 0


async def test_settling_again_after_a_lost_reply_changes_nothing(queue, redis_client):
    ids = await take(queue, redis_client)
    items = [
        Settled(ids[0], outcome(ids[0])),
        Settled(ids[1], b"", False, [Delayed("m", 5.0, b'["message","{}"]', Hold("tk", 0.25, 1e10))]),
        Settled(ids[2], outcome(ids[2]), False, [], [[b"message", b"{2}"]], ("spring", {"failed": 1})),
    ]
    await queue.settle(P, "normal", 1, items)
    keys = [OUTCOMES, DEAD, DELAYED, PAUSES, f"fcm:{{{P}}}:campaign:spring", DELAYED + ":jobs"]
    before = [await redis_client.dump(key) for key in keys]
    assert None not in before
    reply = await queue.settle(P, "normal", 1, items)
    assert (reply.live, reply.stale) == (0, ids)
    assert [await redis_client.dump(key) for key in keys] == before


async def test_a_repeat_is_also_harmless_when_the_lease_was_lost_in_between(queue, redis_client):
    ids = await take(queue, redis_client)
    items = [Settled(i, outcome(i)) for i in ids]
    await queue.settle(P, "normal", 1, items)
    await queue.acquire(P, 2, 30)
    reply = await queue.settle(P, "normal", 1, items)
    assert (reply.live, reply.late, reply.stale) == (0, 0, ids)
    assert len(await recorded(redis_client)) == 1


async def test_some_entries_settled_before_do_not_hold_up_the_others(queue, redis_client):
    ids = await take(queue, redis_client)
    await queue.settle(P, "normal", 1, [Settled(ids[1], outcome(ids[1]))])
    reply = await queue.settle(P, "normal", 1, [Settled(i, outcome(i)) for i in ids])
    assert (reply.live, reply.stale) == (2, [ids[1]])
    assert [[o["job"] for o in e] for e in await recorded(redis_client)] == [[ids[1]], [ids[0], ids[2]]]


async def test_the_same_entry_twice_in_one_call_counts_once(queue, redis_client):
    ids = await take(queue, redis_client, 1)
    reply = await queue.settle(P, "normal", 1, [Settled(ids[0], outcome("x")), Settled(ids[0], outcome("x"))])
    assert (reply.live, reply.stale) == (1, ids)
    assert await recorded(redis_client) == [[{"job": "x", "status": "accepted"}]]


class TestAWorkerThatLostItsEntries:
    @pytest.fixture
    async def stolen(self, queue, new_queue, redis_client):
        ids = await take(queue, redis_client)
        await redis_client.delete(f"fcm:{{{P}}}:lease:me")
        other = new_queue("other")
        await other.acquire(P, 7, 30)
        taken = await other.reclaim(P, "normal", "me", 7)
        assert [i for i, _ in taken.entries] == ids
        return ids, other

    async def test_has_its_retries_and_failures_ignored(self, queue, redis_client, stolen):
        ids, other = stolen
        late = [
            Settled(ids[0], b"", False, [Delayed("m", 5.0, b"[]")]),
            Settled(ids[1], outcome(ids[1]), False, [], [[b"message", b"x"]]),
        ]
        reply = await queue.settle(P, "normal", 1, late)
        assert (reply.live, reply.stale) == (0, ids[:2])
        assert await redis_client.exists(DELAYED, DEAD, OUTCOMES) == 0
        reply = await other.settle(P, "normal", 7, [Settled(i, outcome(i)) for i in ids])
        assert (reply.live, reply.late) == (3, 0)

    async def test_has_what_was_accepted_counted_and_marked(self, queue, redis_client, stolen):
        ids, other = stolen
        tricky = (
            outcome("a", reason='}{"\\', attributes=[{"job": "{"}])
            + b","
            + outcome("b", possible_duplicate=True)
        )
        reply = await queue.settle(P, "normal", 1, [Settled(ids[0], tricky)])
        assert (reply.live, reply.late, reply.stale) == (1, 1, [])
        [[a, b]] = await recorded(redis_client)
        assert a == {
            "job": "a",
            "status": "accepted",
            "reason": '}{"\\',
            "attributes": [{"job": "{"}],
            "possible_duplicate": True,
        }
        assert b == {"job": "b", "status": "accepted", "possible_duplicate": True}
        [entry] = await redis_client.xrange(OUTCOMES)
        assert entry[1][b"outcomes"].count(b"possible_duplicate") == 2
        reply = await other.settle(P, "normal", 7, [Settled(i, outcome(i), False) for i in ids])
        assert (reply.live, reply.stale) == (2, [ids[0]])

    async def test_still_settles_what_redis_says_is_its_own_under_a_new_epoch(self, queue, redis_client):
        ids = await take(queue, redis_client)
        await queue.acquire(P, 2, 30)
        reply = await queue.settle(P, "normal", 1, [Settled(i, outcome(i), False) for i in ids])
        assert (reply.live, reply.late) == (3, 0)
        assert "possible_duplicate" not in (await recorded(redis_client))[0][0]


async def test_effects_of_an_entry_all_happen(queue, redis_client):
    ids = await take(queue, redis_client, 1)
    origin = "1-1"
    await redis_client.set(f"fcm:{{{P}}}:dedup:k", origin)
    item = Settled(
        ids[0],
        outcome("a"),
        False,
        [Delayed("m:1", 10.0001, b'["message","1"]'), Delayed("m:2", 20, b'["message","2"]')],
        [[b"message", b"\xff\x00", b"status", b"failed"]],
        ("spring", {"accepted": 2, "failed": 1}),
        ("k", origin),
    )
    await queue.settle(P, "normal", 1, [item])
    assert await redis_client.zrange(DELAYED, 0, -1, withscores=True) == [
        (b"m:1", 10001.0),
        (b"m:2", 20000.0),
    ]
    assert await redis_client.hgetall(DELAYED + ":jobs") == {
        b"m:1": b'["message","1"]',
        b"m:2": b'["message","2"]',
    }
    [(_, letter)] = await redis_client.xrange(DEAD)
    assert letter == {b"message": b"\xff\x00", b"status": b"failed"}
    assert await redis_client.hgetall(f"fcm:{{{P}}}:campaign:spring") == {b"accepted": b"2", b"failed": b"1"}
    assert await redis_client.exists(f"fcm:{{{P}}}:dedup:k") == 0


async def test_a_dedup_key_that_another_job_holds_is_left_alone(queue, redis_client):
    ids = await take(queue, redis_client, 1)
    await redis_client.set(f"fcm:{{{P}}}:dedup:k", "other")
    await queue.settle(P, "normal", 1, [Settled(ids[0], outcome("a"), False, dedup=("k", "mine"))])
    assert await redis_client.get(f"fcm:{{{P}}}:dedup:k") == b"other"


async def test_held_messages_take_consecutive_slots_after_the_pause(queue, redis_client):
    ids = await take(queue, redis_client, 4)
    pause_end = queue.now() + 100
    hold = [Hold("tx", 0.25, pause_end), Hold("tx", 0.25), Hold("tx", 0.25), Hold("ty", 1.0)]
    items = [Settled(i, b"", False, [Delayed(i, 0, b"[]", h)]) for i, h in zip(ids, hold, strict=True)]
    reply = await queue.settle(P, "normal", 1, items)
    due = {m.decode(): s / 1000 for m, s in await redis_client.zrange(DELAYED, 0, -1, withscores=True)}
    assert [due[i] for i in ids[:3]] == pytest.approx(
        [pause_end, pause_end + 0.25, pause_end + 0.5], abs=0.002
    )
    assert due[ids[3]] == pytest.approx(reply.now, abs=0.002)
    [(next_free, until), other, unknown] = await queue.paused(P, ["tx", "ty", "tz"])
    assert next_free == pytest.approx(pause_end + 0.75, abs=0.002)
    assert until == pytest.approx(pause_end, abs=0.002)
    assert other == (pytest.approx(reply.now + 1, abs=0.002), 0.0)
    assert unknown == (0.0, 0.0)


async def test_a_new_429_moves_the_schedule_further_never_back(queue, redis_client):
    ids = await take(queue, redis_client, 3)
    now = queue.now()
    for i, until in zip(ids, (now + 100, now + 50, now + 200), strict=True):
        await queue.settle(
            P, "normal", 1, [Settled(i, b"", False, [Delayed(i, 0, b"[]", Hold("t", 1, until))])]
        )
    due = {m.decode(): s / 1000 for m, s in await redis_client.zrange(DELAYED, 0, -1, withscores=True)}
    assert [due[i] - now for i in ids] == pytest.approx([100, 101, 200], abs=0.01)
    [(next_free, until)] = await queue.paused(P, ["t"])
    assert (next_free - now, until - now) == pytest.approx((201, 200), abs=0.01)


async def test_a_full_redis_is_drained(queue, redis_client):
    ids = await take(queue, redis_client, 50)
    await redis_client.config_set("maxmemory", 1)
    with pytest.raises(QueueFull):
        await queue.enqueue(P, "normal", [["message", "{}"]])
    items = [
        Settled(i, outcome(i), False, [Delayed(i, 1, b"[]", Hold("t", 1, 1e10))], [[b"a", b"b"]]) for i in ids
    ]
    reply = await queue.settle(P, "normal", 1, items)
    assert reply.live == 50
    assert await redis_client.xlen(LANE) == 0
    await queue.acquire(P, 2, 30)
    assert (await queue.renew([P], 30)).lost == set()
    assert await queue.read(P, "normal", 10) == []
    await queue.create_group(P, "bulk")


async def test_what_redis_refuses_is_not_kept_for_the_collector(queue, redis_client):
    """Settlements of 2 MB are repeated while Redis refuses them, and nothing may run that collects garbage."""
    await redis_client.set(OUTCOMES, "of another type")
    [entry] = await take(queue, redis_client, 1)
    outcomes = b"[" + outcome(entry) + b" " * 5000 + b"]"
    gc.collect()
    gc.disable()
    try:
        held = sys.getrefcount(outcomes)
        for _ in range(3):
            with pytest.raises(QueueMisconfigured):
                await queue.settle_accepted(P, "normal", 1, [entry], outcomes)
        assert sys.getrefcount(outcomes) == held
    finally:
        gc.enable()


async def test_a_server_that_forgot_its_scripts_is_told_again(queue, redis_client):
    ids = await take(queue, redis_client, 1)
    await redis_client.script_flush()
    assert (await queue.settle(P, "normal", 1, [Settled(ids[0], outcome("a"))])).live == 1


async def test_many_and_large_entries_are_split_over_calls(queue, redis_client):
    pipe = redis_client.pipeline(transaction=False)
    for _ in range(2500):
        pipe.xadd(LANE, {"message": "{}"})
    await pipe.execute()
    await queue.acquire(P, 1, 30)
    ids = [i for i, _ in await queue.read(P, "normal", 2500)]
    big = outcome("x", reason="r" * 400_000)
    items = [Settled(i, outcome(i)) for i in ids[:2400]] + [Settled(i, big) for i in ids[2400:2405]]
    items += [Settled(i) for i in ids[2405:]]
    before = queue.commands
    reply = await queue.settle(P, "normal", 1, items)
    assert reply.live == 2500
    assert queue.commands - before >= 5
    assert sum(len(o) for o in await recorded(redis_client)) == 2405


async def test_nothing_to_settle_is_no_command(queue):
    before = queue.commands
    assert (await queue.settle(P, "normal", 1, [])).live == 0
    assert queue.commands == before


async def test_entries_without_outcomes_leave_no_outcome_entry(queue, redis_client):
    ids = await take(queue, redis_client)
    assert (await queue.settle(P, "normal", 1, [Settled(i) for i in ids])).live == 3
    assert await redis_client.exists(OUTCOMES) == 0


async def test_settling_in_a_stream_that_was_deleted_is_stale_not_an_error(queue, redis_client):
    ids = await take(queue, redis_client)
    await redis_client.flushall()
    reply = await queue.settle(P, "normal", 1, [Settled(i, outcome(i), False) for i in ids])
    assert (reply.live, reply.stale) == (0, ids)


async def test_accepted_batches_need_no_object_per_entry(queue, redis_client):
    ids = await take(queue, redis_client)
    reply = await queue.settle_accepted(P, "normal", 1, ids, array(ids))
    assert (reply.live, reply.stale, reply.late) == (3, [], 0)
    assert [[o["job"] for o in entry] for entry in await recorded(redis_client)] == [ids]
    assert (await queue.settle_accepted(P, "normal", 1, ids, array(ids))).stale == ids
    assert (await queue.settle_accepted(P, "normal", 1, [], b"")).live == 0


async def test_accepted_batches_are_split_too(queue, redis_client):
    ids = await take(queue, redis_client, 1500)
    reply = await queue.settle_accepted(P, "normal", 1, ids, array(ids))
    assert reply.live == 1500
    assert [len(entry) for entry in await recorded(redis_client)] == [1000, 500]


async def test_of_an_accepted_batch_what_is_stale_is_left_out_and_what_is_late_is_marked(queue, redis_client):
    ids = await take(queue, redis_client, 4)
    await queue.settle(P, "normal", 1, [Settled(ids[1], outcome("first"))])
    # Braces, quotes and commas in text are not the objects' own.
    reply = await queue.settle_accepted(P, "normal", 1, ids[:2], array(ids[:2], reason='}{"\\,{'))
    assert (reply.live, reply.stale, reply.late) == (1, [ids[1]], 0)
    await redis_client.delete(f"fcm:{{{P}}}:lease:{queue.consumer}")
    await redis_client.xclaim(LANE, "dispatcher", "other", 0, [ids[3]])
    reply = await queue.settle_accepted(P, "normal", 1, ids[2:], array(ids[2:], reason='}{"\\,{'))
    assert (reply.live, reply.stale, reply.late) == (2, [], 1)
    first, second, third = await recorded(redis_client)
    assert [o["job"] for o in first] == ["first"]
    assert [(o["job"], o["reason"]) for o in second] == [(ids[0], '}{"\\,{')]
    assert [(o["job"], o.get("possible_duplicate", False)) for o in third] == [
        (ids[2], False),
        (ids[3], True),
    ]


async def test_an_accepted_batch_may_leave_no_outcomes(queue, redis_client):
    ids = await take(queue, redis_client)
    await queue.settle(P, "normal", 1, [Settled(ids[0])])
    assert (await queue.settle_accepted(P, "normal", 1, ids, b"")).live == 2
    assert await redis_client.exists(OUTCOMES) == 0
    more = await take(queue, redis_client, 1001)
    assert (await queue.settle_accepted(P, "normal", 1, more, b"")).live == 1001


@pytest.mark.parametrize("key", [OUTCOMES, DEAD, DELAYED, DELAYED + ":jobs", PAUSES])
async def test_a_key_of_the_wrong_type_stops_settling_before_anything_is_lost(queue, redis_client, key):
    ids = await take(queue, redis_client, 1)
    await redis_client.set(key, "x")
    item = Settled(ids[0], outcome("a"), False, [Delayed("m", 5, b"[]", Hold("t", 1))], [[b"a", b"b"]])
    with pytest.raises(QueueMisconfigured):
        await queue.settle(P, "normal", 1, [item])
    assert await redis_client.xlen(LANE) == 1
    await redis_client.delete(key)
    assert (await queue.settle(P, "normal", 1, [item])).live == 1


async def test_a_dead_letter_of_thousands_of_fields_keeps_both_ends(queue, redis_client):
    ids = await take(queue, redis_client, 1)
    fields = [b"%d" % n for n in range(20_000)]
    await queue.settle(P, "normal", 1, [Settled(ids[0], b"", False, (), [fields])])
    [(_, letter)] = await redis_client.xrange(DEAD)
    assert len(letter) == 1000
    assert letter[b"0"] == b"1"
    assert letter[b"19998"] == b"19999"
