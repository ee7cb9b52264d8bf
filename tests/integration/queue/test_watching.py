"""What the metrics are read from: who is behind, who is held, how full the server is."""

import pytest

from dispatcher.queue.settlement import Delayed, Hold, Settled

P = "p"
OUTCOMES = f"fcm:{{{P}}}:outcomes"


async def written(redis_client, count, ago_s):
    seconds, _ = await redis_client.time()
    for n in range(count):
        await redis_client.xadd(OUTCOMES, {"outcomes": "[]"}, id=f"{(seconds - ago_s) * 1000 + n}-0")


class TestReaders:
    async def test_nothing_written_is_nothing_unread(self, queue):
        unread = await queue.unread(P)
        assert (unread.entries, unread.age) == (0, 0.0)

    async def test_without_a_group_everything_is_unread(self, queue, redis_client):
        await written(redis_client, 3, ago_s=40)
        unread = await queue.unread(P)
        assert unread.entries == 3
        assert unread.age == pytest.approx(40, abs=3)

    async def test_a_group_that_has_read_and_acknowledged_all_is_not_behind(self, queue, redis_client):
        await written(redis_client, 3, ago_s=40)
        await redis_client.xgroup_create(OUTCOMES, "g", "0")
        await redis_client.xreadgroup("g", "c", {OUTCOMES: ">"}, noack=True)
        unread = await queue.unread(P)
        assert (unread.entries, unread.age) == (0, 0.0)

    async def test_what_is_pending_is_not_read_yet(self, queue, redis_client):
        await written(redis_client, 3, ago_s=40)
        await redis_client.xgroup_create(OUTCOMES, "g", "0")
        await redis_client.xreadgroup("g", "c", {OUTCOMES: ">"})
        unread = await queue.unread(P)
        assert unread.entries == 3
        assert unread.age == pytest.approx(40, abs=3)

    async def test_the_slowest_group_counts(self, queue, redis_client):
        await written(redis_client, 4, ago_s=40)
        for group, count in (("fast", 4), ("slow", 1)):
            await redis_client.xgroup_create(OUTCOMES, group, "0")
            await redis_client.xreadgroup(group, "c", {OUTCOMES: ">"}, count=count, noack=True)
        unread = await queue.unread(P)
        assert unread.entries in (3, 4)  # before 7.0 it is an estimate
        assert unread.age == pytest.approx(40, abs=3)


async def test_pending_jobs_are_those_that_somebody_has_read(queue):
    await queue.create_group(P, "normal")
    await queue.enqueue(P, "normal", [["message", "1"]] * 3)
    assert (await queue.stats([P]))[P].pending == 0
    await queue.read(P, "normal", 2)
    assert (await queue.stats([P]))[P].pending == 2
    assert not queue.errors, "streams that nobody has used yet are no errors"


async def test_held_messages_are_counted_until_their_slot(queue, redis_client):
    await queue.create_group(P, "normal")
    await queue.acquire(P, 1, 30)
    await queue.enqueue(P, "normal", [["message", "1"]] * 4)
    ids = [entry_id for entry_id, _ in await queue.read(P, "normal", 10)]
    holds = [Hold("tx", 0.01), Hold("tx", 0.01), Hold("ty", 0.01, queue.now() + 900), None]
    items = [
        Settled(i, b"", False, [Delayed(i, queue.now() + 900, b"[]", h)])
        for i, h in zip(ids, holds, strict=True)
    ]
    await queue.settle(P, "normal", 1, items)
    assert (await queue.controls([P]))[P].held == 3
    while (await queue.stats([P]))[P].delayed > 2:
        await queue.promote(P)
    assert (await queue.controls([P]))[P].held == 1
    await redis_client.zadd(f"fcm:{{{P}}}:delayed", dict.fromkeys(ids[2:], 1))
    await queue.promote(P)
    assert (await queue.controls([P]))[P].held == 0


async def test_memory_is_what_the_server_says(queue, redis_client):
    await redis_client.config_set("maxmemory", 10**9)
    used, limit = await queue.memory()
    assert 10**5 < used < 10**9
    assert limit == 10**9


async def test_failed_calls_are_counted_by_kind(queue, redis_client):
    await redis_client.set(f"fcm:{{{P}}}:jobs:normal", "no stream")
    with pytest.raises(Exception, match="cannot do this"):
        await queue.stats([P])
    assert set(queue.errors) == {"misconfigured"}
