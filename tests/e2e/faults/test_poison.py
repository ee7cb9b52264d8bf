"""A job that kills whoever sends it, and kills that nobody is to blame for.

The product has no hook for dying on demand: the harness kills a worker with -9 when the poisonous message is on
its way out, and the request never arrives.
"""

from __future__ import annotations

import asyncio

import pytest
from harness.proxy import Fault
from harness.stage import Stage
from harness.waiting import until

pytestmark = pytest.mark.short_lease

POISON = b"poisonous"


@pytest.mark.thorough
@pytest.mark.timeout(180)
async def test_one_poisonous_job_among_five_hundred(stage: Stage, close):
    """It alone ends as `failed`, after it was alone at three deaths; the other 499 are accepted."""
    over = asyncio.Event()

    async def arm(worker) -> None:
        async def die() -> None:
            worker.signal(9)

        worker.fcm.inject(Fault(POISON, "drop request", times=None, before=die))

    async def keep_two_alive() -> None:
        while not over.is_set():
            for worker in list(stage.workers):
                if not worker.alive and not worker.killed:
                    await stage.kill(worker)
            if len(stage.live) < 2:
                await arm(await stage.worker())
            await asyncio.sleep(0.05)

    for _ in range(2):
        await arm(await stage.worker())
    stage.freeze(stage.workers[1])
    await stage.produce(250)
    key = stage.keys.stream(stage.projects[0], "normal")
    fields = {"id": "poison", "message": '{"token":"poisonous","data":{"id":"poison"}}'}
    await stage.redis.client.xadd(key, fields)
    stage.expect(fields, may=["failed"])
    await stage.produce(249)
    stage.thaw(stage.workers[1])
    replacing = asyncio.create_task(keep_two_alive())
    try:
        await stage.settled(150)
    finally:
        over.set()
        await replacing
    deaths = len(stage.deaths)
    found = await close(stage)
    found["measured"] = f"{deaths} workers died until it was given up"
    (letter,) = await stage.redis.client.xrange(stage.keys.dead(stage.projects[0]))
    assert (letter[1]["id"], letter[1]["code"]) == ("poison", "poison")
    assert deaths <= 7
    assert found["duplicates"] <= found["bound"]


@pytest.mark.thorough
@pytest.mark.timeout(180)
async def test_a_storm_of_kills_dead_letters_nobody(stage: Stage, close):
    """Ten kills at random under load, each worker replaced: every message is accepted."""
    await stage.emulator.script(latency=0.1)
    flow = {"max_concurrent_requests": 4, "batch_size": 50}
    await stage.crew(3, **flow)
    dice = stage.random
    await stage.produce(1500)
    for _ in range(10):
        before = await stage.emulator.arrived()
        some = dice.randrange(50, 300)
        await until(lambda: more_or_done(stage, before + some), 30)  # noqa: B023 - awaited within the turn
        await stage.kill(dice.choice(stage.live))
        await stage.produce(200)
        await stage.worker(**flow)
    await stage.settled(120)
    assert not await stage.redis.client.exists(stage.keys.dead(stage.projects[0]))
    await close(stage)


async def more_or_done(stage: Stage, count: int) -> bool:
    return await stage.emulator.arrived() >= count or not await stage.waiting()
