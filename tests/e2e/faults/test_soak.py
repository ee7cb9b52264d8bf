"""Random faults for as long as one likes, and the same check at the end: `make soak MINUTES=30`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
import redis.exceptions
from harness.gate import Gate
from harness.proxy import Fault
from harness.stage import Stage
from harness.waiting import pass_time, until

MINUTES = float(os.environ.get("MINUTES", "30"))
AOF = ("--appendonly", "yes", "--appendfsync", "everysec")
FLOW = {
    "max_concurrent_requests": 8,
    "batch_size": 100,
    "outcomes_max_entries": 10_000_000,
    "max_attempts": 100,
}

REFUSED = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.OutOfMemoryError,
)


@pytest.mark.soak
@pytest.mark.short_lease
@pytest.mark.timeout(MINUTES * 90 + 600)
async def test_soak(make_stage, close, tmp_path):
    """Three workers under a steady load; every few seconds something happens to one of them, to Redis or to FCM."""
    stage: Stage = await make_stage(redis_options=AOF)
    await calm(stage)
    await stage.crew(3, **FLOW)
    ends = time.monotonic() + MINUTES * 60
    happened: Counter[str] = Counter()
    memory: list[int] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load(stage, ends))
        while time.monotonic() < ends:
            fault = stage.random.choice(FAULTS)
            happened[fault.__name__] += 1
            await fault(stage)
            while len(stage.live) < 3:
                await stage.worker(ready=False, **FLOW)
            await pass_time(stage.random.uniform(0.5, 4.0))
            memory.append((await stage.redis.client.info("memory"))["used_memory"])
    await calm(stage)
    for worker in stage.live:
        worker.redis.clear()
        worker.fcm.clear()
    await stage.settled(180)
    found = await close(stage, spread=4)
    kinds = ", ".join(f"{count} x {name.replace('_', ' ')}" for name, count in happened.most_common())
    found["measured"] = (
        f"{MINUTES:g} minutes, {kinds}; at most {found['peak_rss_mb']} MiB in a worker, "
        f"{max(memory) >> 20} MiB in Redis, which kept every outcome"
    )


async def calm(stage: Stage) -> None:
    """One answer in a hundred is 503, and each takes 50 ms."""
    await stage.emulator.script({"error": "UNAVAILABLE", "rate": 0.01}, latency=0.05, seed=stage.seed)


async def load(stage: Stage, ends: float) -> None:
    """Some hundreds of messages at a time, as long as not too many wait; a Redis that is away or full gets none."""
    while time.monotonic() < ends:
        with contextlib.suppress(OSError, *REFUSED):
            if await stage.waiting() < 2000:
                await stage.produce(stage.random.randrange(20, 400))
                await stage.produce(1, tokens=stage.random.randrange(1, 100), lane="high")
        await pass_time(stage.random.uniform(0.1, 0.6))


def someone(stage: Stage):
    return stage.random.choice(stage.live)


async def kill(stage: Stage) -> None:
    await stage.kill(someone(stage))


async def terminate(stage: Stage) -> None:
    worker = someone(stage)
    worker.signal(signal.SIGTERM)
    stage.faults += 1
    assert await worker.ended() == 0


async def sleep_past_the_lease(stage: Stage) -> None:
    worker = someone(stage)
    stage.freeze(worker)
    await stage.note(worker, "sleep of")
    await pass_time(2 * stage.lease_s)
    stage.thaw(worker)


async def block_the_loop_past_the_lease(stage: Stage) -> None:
    """Of a worker that is started for it, and then one of the crew."""
    with tempfile.TemporaryDirectory() as folder:
        async with Gate(Path(folder) / "gate") as gate:
            worker = await stage.worker(gate=gate, **FLOW)
            worker.signal(stage.random.choice([signal.SIGUSR1, signal.SIGUSR2]))
            await until(lambda: gate.reached.is_set() or few(stage), 60)
            if gate.reached.is_set():
                await stage.note(worker, "blocked loop of")
                await pass_time(2 * stage.lease_s)
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0


async def few(stage: Stage) -> bool:
    """Nothing to send, and so no request to block in."""
    return not await stage.waiting()


async def lose_redis_past_the_lease(stage: Stage) -> None:
    worker = someone(stage)
    async with stage.held_still("Redis lost for", worker):
        await worker.redis.refuse()
    await pass_time(2 * stage.lease_s)
    await worker.redis.listen()


async def administer_redis(stage: Stage) -> None:
    await stage.redis.client.script_flush()
    await stage.redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await stage.redis.client.execute_command("CLIENT", "PAUSE", "300", "ALL")
    stage.faults += 1


async def fill_redis_up(stage: Stage) -> None:
    """Producers are refused; the workers go on."""
    info = await stage.redis.client.info("memory")
    await stage.redis.client.config_set("maxmemory", info["used_memory"])
    stage.faults += 1
    await pass_time(3.0)
    await stage.redis.client.config_set("maxmemory", 0)


async def brown_out(stage: Stage) -> None:
    rule = {"error": "UNAVAILABLE", "rate": 0.5, "times": stage.random.randrange(50, 300)}
    await stage.emulator.script(rule, latency=0.05, seed=stage.seed)
    stage.faults += 1
    await pass_time(3.0)
    await calm(stage)


async def revoke_the_token(stage: Stage) -> None:
    await stage.emulator.put("oauth", revoke=True)
    stage.faults += 1


async def lose_replies_of_redis(stage: Stage) -> None:
    worker = someone(stage)
    worker.redis.inject(Fault(b"", "drop reply", times=stage.random.randrange(1, 5)))
    stage.faults += 1


async def lose_an_answer_of_fcm(stage: Stage) -> None:
    worker = someone(stage)
    worker.fcm.inject(Fault(b"POST /batch", "drop reply", before=stage.noting(worker, "lost answer of")))


async def cut_an_answer_of_fcm(stage: Stage) -> None:
    worker = someone(stage)
    keep = stage.random.randrange(8000)
    note = stage.noting(worker, "cut answer of")
    worker.fcm.inject(Fault(b"POST /batch", "cut reply", keep=keep, before=note))


async def reset_redis_connections(stage: Stage) -> None:
    someone(stage).redis.reset()
    stage.faults += 1


async def restart_redis(stage: Stage) -> None:
    async with stage.held_still("Redis killed under", *stage.live):
        await stage.redis.kill()
    await stage.redis.start()
    await stage.load_scripts()


FAULTS = [
    kill,
    terminate,
    sleep_past_the_lease,
    block_the_loop_past_the_lease,
    lose_redis_past_the_lease,
    administer_redis,
    fill_redis_up,
    brown_out,
    revoke_the_token,
    lose_replies_of_redis,
    lose_an_answer_of_fcm,
    cut_an_answer_of_fcm,
    reset_redis_connections,
    restart_redis,
]
