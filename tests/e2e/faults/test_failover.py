"""A master with a replica and a sentinel: the master dies, the replica is promoted, the workers follow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions
from harness.processes import Process, RedisServer
from harness.stage import Stage
from harness.waiting import until

from dispatcher.queue.embedded import find_servers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def sentinel(folder: Path, master_port: int) -> AsyncIterator[int]:
    """A sentinel that watches the master; its port."""
    port = free_port()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor m 127.0.0.1 {master_port} 1\n"
        "sentinel down-after-milliseconds m 500\nsentinel failover-timeout m 5000\n"
    )
    process = Process("sentinel", [str(find_servers()[0]), str(config), "--sentinel"], {})
    await process.start()
    try:
        yield port
    finally:
        await process.kill()


@pytest.mark.thorough
async def test_failover_to_a_replica(make_stage, close, tmp_path):
    """What the replica had is sent and settled; what it had not yet heard of is settled again, without sending."""
    port, other = free_port(), free_port()
    quick = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
    stage: Stage = await make_stage(redis_port=port, redis_options=quick)
    replica = RedisServer(tmp_path / "replica", other, (*quick, "--replicaof", "127.0.0.1", str(port)))
    await replica.start()
    try:
        await until(lambda: follows(replica))
        async with sentinel(tmp_path, port) as sentinel_port:
            watcher = redis.asyncio.Redis(port=sentinel_port, decode_responses=True)
            await until(lambda: knows_replica(watcher))
            await stage.emulator.script(latency=0.1)
            url = f"redis+sentinel://127.0.0.1:{sentinel_port}/m/0"
            workers = await stage.crew(2, redis_url=url, max_concurrent_requests=4, batch_size=50)
            await stage.produce(2000)
            await stage.redis.client.wait(1, 2000)
            await until(stage.emulator.accepted)
            async with stage.held_still("failover under", *workers):
                await stage.redis.kill()
            await stage.redis.client.aclose()
            stage.redis.client = replica.client
            await until(lambda: promoted(replica), 30)
            await stage.settled()
            await close(stage, counters=False)
            await watcher.aclose()
    finally:
        await replica.kill()
        await replica.client.aclose()


async def follows(replica: RedisServer) -> bool:
    return (await replica.client.info("replication")).get("master_link_status") == "up"


async def promoted(replica: RedisServer) -> bool:
    return (await replica.client.info("replication"))["role"] == "master"


async def knows_replica(watcher: redis.asyncio.Redis) -> bool:
    with contextlib.suppress(redis.exceptions.RedisError):
        return bool(await watcher.execute_command("SENTINEL", "REPLICAS", "m"))
    await asyncio.sleep(0)
    return False
