"""Random faults for as long as one likes, and the same check at the end: `make soak MINUTES=30`."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from harness.proxy import Fault
from harness.stage import LEASE_S, Stage
from harness.waiting import until

MINUTES = float(os.environ.get("MINUTES", "30"))
AOF = ("--appendonly", "yes", "--appendfsync", "everysec")
FLOW = {
    "max_concurrent_requests": 8,
    "batch_size": 100,
    "outcomes_max_entries": 10_000_000,
    "max_attempts": 100,
}


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 300)
async def test_soak(make_stage, close):
    """Three workers under a steady load; every few seconds something happens to one of them, to Redis or to FCM."""
    stage: Stage = await make_stage(redis_options=AOF)
    await stage.emulator.script({"error": "UNAVAILABLE", "rate": 0.01}, latency=0.05, seed=stage.seed)
    await stage.crew(3, **FLOW)
    ends = time.monotonic() + MINUTES * 60
    loading = asyncio.create_task(load(stage, ends))
    happened: dict[str, int] = {}
    memory: list[int] = []
    while time.monotonic() < ends:
        fault = stage.random.choice(FAULTS)
        await fault(stage)
        happened[fault.__name__] = happened.get(fault.__name__, 0) + 1
        while len(stage.live) < 3:
            await stage.worker(ready=False, **FLOW)
        rest = time.monotonic() + stage.random.uniform(0.5, 4.0)
        await until(lambda: time.monotonic() > rest)  # noqa: B023 - awaited within the turn
        memory.append((await stage.redis.client.info("memory"))["used_memory"])
    await loading
    for worker in stage.live:
        worker.redis.clear()
        worker.fcm.clear()
    await stage.settled(180)
    await close(stage, note={"minutes": MINUTES, "kinds": happened, "redis_mb": max(memory) >> 20}, spread=4)


async def load(stage: Stage, ends: float) -> None:
    """A thousand messages at a time, as long as not too many wait."""
    while time.monotonic() < ends:
        try:
            if await stage.waiting() < 2000:
                await stage.produce(stage.random.randrange(20, 400))
                await stage.produce(1, tokens=stage.random.randrange(1, 100), lane="high")
        except (OSError, Exception) as error:
            if "onnect" not in str(error) and "LOADING" not in str(error).upper():
                raise
        await asyncio.sleep(0.1)


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
    wakes = time.monotonic() + 2 * LEASE_S
    await until(lambda: time.monotonic() > wakes)
    stage.thaw(worker)


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
    for worker in stage.live:
        await stage.note(worker, "Redis killed under")
    await stage.redis.kill()
    await stage.redis.start()
    await stage.load_scripts()


FAULTS = [
    kill,
    terminate,
    sleep_past_the_lease,
    lose_replies_of_redis,
    lose_an_answer_of_fcm,
    cut_an_answer_of_fcm,
    reset_redis_connections,
    restart_redis,
]
