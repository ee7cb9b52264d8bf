"""States of Redis in which it answers, and does not serve: loading, a replica, too old, evicting."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions
from harness.processes import RedisServer
from harness.proxy import Proxy
from harness.stage import PROJECT, Stage
from harness.waiting import until

from dispatcher.errors import QueueMisconfigured, QueueUnavailable
from dispatcher.queue.store import Queue

FILLER = "for i = 1, 20000 do redis.call('INCR', 'filler') end"
"""Twenty thousand commands in the file, and one key."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.thorough
async def test_redis_loads_a_large_append_only_file(make_stage, close):
    """While it answers LOADING, nothing is given up; when it is done, everything goes on."""
    stage: Stage = await make_stage(redis_options=("--appendonly", "yes"))
    for _ in range(60):
        await stage.redis.client.eval(FILLER, 0)
    await stage.emulator.script(latency=0.1)
    workers = await stage.crew(2, max_concurrent_requests=4, batch_size=50)
    await stage.produce(2000)
    await until(stage.emulator.accepted)
    async with stage.held_still("Redis killed under", *workers):
        await stage.redis.kill()
    _, seen = await asyncio.gather(stage.redis.start(), loading(stage))
    assert seen, "it was to answer LOADING for a while"
    await stage.settled()
    await close(stage)


async def loading(stage: Stage) -> bool:
    """Whether it answers LOADING before it serves."""
    async with redis.asyncio.Redis(unix_socket_path=str(stage.redis.path), protocol=2, retry=None) as client:
        while True:
            try:
                await client.ping()
            except redis.exceptions.BusyLoadingError:
                return True
            except redis.exceptions.RedisError:
                await asyncio.sleep(0)
            else:
                return False


QUICK = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_the_master_becomes_a_replica_and_a_master_again(make_stage, close, tmp_path):
    """READONLY, for longer than a lease: it is waited for, and nothing is lost or sent twice."""
    port, other = free_port(), free_port()
    stage: Stage = await make_stage(redis_port=port, redis_options=QUICK)
    replica = RedisServer(tmp_path / "replica", other, (*QUICK, "--replicaof", "127.0.0.1", str(port)))
    await replica.start()
    try:
        await until(lambda: follows(replica))
        await stage.emulator.script(latency=0.1)
        workers = await stage.crew(2, max_concurrent_requests=4, batch_size=50)
        await stage.produce(2000)
        await until(stage.emulator.accepted)
        for worker in workers:
            await stage.note(worker, "failover under")
        # The two agree before they change places: what is measured is READONLY, not asynchronous replication.
        await stage.redis.client.execute_command("FAILOVER", "TO", "127.0.0.1", other)
        await until(lambda: is_master(replica))
        with pytest.raises(QueueUnavailable, match="point DISPATCHER_REDIS_URL at the master"):
            await look(f"redis://127.0.0.1:{port}")
        arrived = -1
        while arrived != (arrived := await stage.emulator.arrived()):
            await until(lambda: quiet(stage))
        assert arrived < 2000
        await until(lambda: no_leases(replica, stage), 20)
        await replica.client.execute_command("FAILOVER", "TO", "127.0.0.1", port)
        await until(lambda: is_master(stage.redis))
        await stage.settled()
        found = await close(stage, counters=False)
        assert found["duplicates"] == 0
    finally:
        await replica.kill()
        await replica.client.aclose()


@pytest.mark.thorough
async def test_failover_to_a_replica_that_lags(make_stage, close, tmp_path):
    """What it never heard of is settled again by the one who had settled it: nothing is lost, and nothing sent twice."""
    port, other = free_port(), free_port()
    stage: Stage = await make_stage(redis_port=port, redis_options=QUICK)
    async with Proxy(("127.0.0.1", port)) as link:
        options = (*QUICK, "--replicaof", "127.0.0.1", str(link.port))
        replica = RedisServer(tmp_path / "replica", other, options)
        await replica.start()
        try:
            await until(lambda: follows(replica))
            await stage.emulator.script(latency=0.1)
            worker = await stage.worker(max_concurrent_requests=4, batch_size=50)
            await stage.produce(3000)
            await until(stage.emulator.accepted)
            assert await stage.redis.client.wait(1, 5000) == 1
            link.lost_down = True
            settled = await stage.redis.client.xlen(stage.keys.outcomes(PROJECT))
            await until(lambda: more_outcomes(stage, settled + 5))
            async with stage.held_still("failover under", worker):
                await stage.redis.kill()
            await stage.redis.client.aclose()
            await replica.client.replicaof("NO", "ONE")
            stage.redis.client = replica.client
            worker.redis.upstream = replica.path
            worker.redis.reset()
            await stage.settled()
            found = await close(stage, counters=False)
            assert found["duplicates"] == 0
            assert worker.said("settled_again")
        finally:
            await replica.kill()
            await replica.client.aclose()


async def more_outcomes(stage: Stage, count: int) -> bool:
    return await stage.redis.client.xlen(stage.keys.outcomes(PROJECT)) > count


async def quiet(stage: Stage) -> bool:
    return all([await worker.counted("requests_in_flight") == 0 for worker in stage.live])


async def no_leases(server: RedisServer, stage: Stage) -> bool:
    names = [stage.keys.lease(PROJECT, worker.consumer) for worker in stage.live]
    return not await server.client.exists(*names)


async def follows(replica: RedisServer) -> bool:
    return (await replica.client.info("replication")).get("master_link_status") == "up"


async def is_master(server: RedisServer) -> bool:
    with contextlib.suppress(redis.exceptions.RedisError):
        return (await server.client.info("replication"))["role"] == "master"
    return False


async def look(url: str) -> Any:
    """What a worker at its start and `dispatcher check` look at."""
    queue = Queue.at(url, consumer="me")
    try:
        return await queue.check_server([PROJECT])
    finally:
        await queue.aclose()


@contextlib.asynccontextmanager
async def said_to_be(stage: Stage, true: bytes, told: bytes) -> AsyncIterator[str]:
    """The URL of a Redis that says something else of itself, of the same length."""
    assert len(true) == len(told)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, to_far = await asyncio.open_unix_connection(stage.redis.path)
        await asyncio.wait(
            [asyncio.create_task(pump(reader, to_far)), asyncio.create_task(pump(far, writer))]
        )

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 20):
            sink.write(data.replace(true, told))
            await sink.drain()
        sink.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_server_that_is_too_old_is_refused_at_the_start(stage: Stage):
    """One line, that names what is needed."""
    version = (await stage.redis.client.info("server"))["redis_version"]
    old = ("6.0" + version[3:] if len(version) < 6 else "6.0.16").ljust(len(version), "0")
    true, told = (f"redis_version:{text}".encode() for text in (version, old))
    async with said_to_be(stage, true, told) as url:
        code, word = await stage.run("worker", redis_url=url)
        with pytest.raises(QueueMisconfigured, match=r"too old: 6\.2 is needed"):
            await look(url)
    assert (code, word) == (1, f"dispatcher: Redis {old} is too old: 6.2 is needed, 7.4 or newer recommended")


async def test_a_server_that_evicts_jobs_is_refused_at_the_start_and_one_that_evicts_leases_is_not(
    stage: Stage,
):
    """One line for the first; a warning in the log for the second, which is served."""
    client = stage.redis.client
    await client.config_set("maxmemory-policy", "allkeys-lfu")
    code, word = await stage.run("worker")
    assert code == 1
    assert word.startswith("dispatcher: maxmemory-policy is allkeys-lfu: ")
    assert word.endswith("set it to noeviction")
    await client.config_set("maxmemory-policy", "volatile-lru")
    worker = await stage.worker()
    told = [line["finding"] for _, line in worker.said("redis_finding")]
    assert any(text.startswith("maxmemory-policy is volatile-lru: ") for text in told)
