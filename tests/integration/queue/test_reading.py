from __future__ import annotations

import asyncio

import pytest

from dispatcher.errors import QueueError, QueueMisconfigured, QueueUnavailable
from dispatcher.queue.store import Queue

P = "p"
LANE = f"fcm:{{{P}}}:jobs:normal"


async def test_entries_written_before_the_first_worker_are_read(queue, redis_client):
    ids = await queue.enqueue(P, "normal", [["message", b"\xff", "id", "a"], ["message", "2"]])
    read = await queue.read(P, "normal", 10)
    assert read == [(ids[0], [b"message", b"\xff", b"id", b"a"]), (ids[1], [b"message", b"2"])]
    assert await queue.read(P, "normal", 10) == []


async def test_a_read_takes_no_more_than_asked(queue):
    await queue.enqueue(P, "normal", [["message", str(n)] for n in range(1200)])
    assert [len(await queue.read(P, "normal", 500)) for _ in range(4)] == [500, 500, 200, 0]


async def test_a_deleted_stream_is_made_again(queue, redis_client):
    assert await queue.read(P, "normal", 1) == []
    await redis_client.flushall()
    await queue.enqueue(P, "normal", [["message", "1"]])
    assert len(await queue.read(P, "normal", 1)) == 1


async def test_waiting_ends_with_the_first_entry_of_any_lane(queue, new_queue):
    lanes = [("p", "high"), ("p", "bulk"), ("q", "normal")]
    waiting = asyncio.ensure_future(queue.wait(lanes, 10, 10_000))
    producer = new_queue()
    while not waiting.done():
        await producer.enqueue("q", "normal", [["message", "1"]])
    [(project, stream, entries)] = await waiting
    assert (project, stream) == ("q", "normal")
    assert entries[0][1] == [b"message", b"1"]


async def test_waiting_runs_out(queue):
    assert await queue.wait([(P, "high"), (P, "due")], 10, 1) == []


async def test_waiting_takes_from_every_lane_that_has_something(queue):
    await queue.enqueue("p", "bulk", [["message", "1"]] * 3)
    await queue.enqueue("q", "high", [["message", "2"]])
    taken = await queue.wait([("p", "bulk"), ("q", "high"), ("q", "bulk")], 2, 1)
    assert [(p, s, len(e)) for p, s, e in taken] == [("p", "bulk", 2), ("q", "high", 1)]


async def test_a_wait_survives_the_loss_of_its_stream(queue, new_queue, redis_client):
    await queue.create_group(P, "normal")
    waiting = asyncio.ensure_future(queue.wait([(P, "normal")], 10, 10_000))
    blocked = 0
    while not blocked:
        blocked = (await redis_client.info("clients"))["blocked_clients"]
    await redis_client.delete(LANE)
    producer = new_queue()
    while not waiting.done():
        await producer.enqueue(P, "normal", [["message", "1"]])
    assert await waiting


async def test_the_clock_is_redis_s_own(queue, redis_client):
    await queue.ping()
    seconds, micros = await redis_client.time()
    assert queue.now() == pytest.approx(seconds + micros / 1e6, abs=0.5)


async def test_commands_are_counted(queue):
    await queue.create_group(P, "normal")
    await queue.enqueue(P, "normal", [["message", "1"]])
    before = queue.commands
    await queue.read(P, "normal", 1)
    await queue.enqueue(P, "normal", [["message", "1"]] * 3)
    assert queue.commands - before == 2


class TestErrors:
    async def test_a_server_that_is_not_there_is_unavailable(self, tmp_path):
        queue = Queue.at(f"unix://{tmp_path}/none", consumer="me")
        with pytest.raises(QueueUnavailable):
            await queue.read(P, "normal", 1)
        with pytest.raises(QueueUnavailable):
            await queue.renew([P], 5)
        with pytest.raises(QueueUnavailable):
            await queue.wait([(P, "normal")], 1, 1)
        with pytest.raises(QueueUnavailable):
            await queue.acquire(P, 1, 5)
        await queue.aclose()

    async def test_a_key_of_the_wrong_type_is_a_misconfiguration(self, queue, redis_client):
        await redis_client.set(LANE, "x")
        with pytest.raises(QueueMisconfigured):
            await queue.read(P, "normal", 1)

    async def test_a_refused_user_is_a_misconfiguration(self, redis_server, queue, redis_client):
        await redis_client.acl_setuser("mute", enabled=True, nopass=True, commands=["-@all"], keys=["*"])
        other = Queue.at(redis_server.url.replace("unix://", "unix://mute:x@"), consumer="me")
        with pytest.raises(QueueMisconfigured):
            await other.read(P, "normal", 1)
        await other.aclose()
        wrong = Queue.at(redis_server.url.replace("unix://", "unix://nobody:x@"), consumer="me")
        with pytest.raises(QueueMisconfigured):
            await wrong.read(P, "normal", 1)
        await wrong.aclose()

    async def test_a_replica_is_unavailable_for_writes(self, queue, redis_client):
        await redis_client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(QueueUnavailable):
                await queue.acquire(P, 1, 5)
            with pytest.raises(QueueUnavailable):
                await queue.enqueue(P, "normal", [["message", "1"]])
        finally:
            await redis_client.execute_command("REPLICAOF", "NO", "ONE")

    async def test_all_of_them_are_queue_errors(self, queue):
        with pytest.raises(QueueError):
            await queue.server.call("XADD", "only-a-key")


async def test_a_cancelled_call_leaves_no_reply_to_the_next_one(queue, redis_client):
    for _ in range(20):
        call = asyncio.ensure_future(queue.server.call("ECHO", "old" * 10_000))
        for _ in range(3):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert await queue.server.call("ECHO", "new") == b"new"


async def test_cut_connections_are_made_again(queue, redis_client):
    await queue.ping()
    for client in await redis_client.client_list():
        if client["cmd"] == "time":
            await redis_client.client_kill_filter(_id=client["id"])
    answered = 0
    while answered < 2:
        try:
            await queue.ping()
            answered += 1
        except QueueUnavailable:
            assert not answered
