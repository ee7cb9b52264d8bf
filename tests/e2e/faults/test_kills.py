"""kill -9 at the worst moments: nothing lost, and nothing repeated that was not on the wire."""

from __future__ import annotations

import time

import pytest
from harness.proxy import Fault
from harness.stage import PROJECT, Stage
from harness.waiting import until

pytestmark = pytest.mark.short_lease


async def test_killed_before_the_send(stage: Stage, close):
    """What was read and not sent is sent by another worker, once."""
    first = await stage.worker()
    asking = stage.script_fault(first, "grant", action="hold request", times=None)
    await stage.produce(2000)
    await until(lambda: stage.pending(first), what="entries are read")
    await asking.hit.wait()
    await stage.kill(first)
    assert not await stage.emulator.arrived()
    await stage.worker()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == 0


@pytest.mark.thorough
@pytest.mark.parametrize("transport", ["batch", "v1", "v1-h2"])
async def test_killed_after_the_send_and_before_the_answer(make_stage, close, transport):
    """What was on the wire is sent again, at most; the rest once."""
    stage: Stage = await make_stage(tls=transport == "v1-h2")
    await stage.emulator.script(latency=0.5)
    slow = {
        "transport": transport,
        "max_concurrent_requests": 4 if transport == "batch" else 200,
        "batch_size": 50,
    }
    crew = await stage.crew(2, **slow)
    await stage.produce(1500)
    await until(lambda: more_than(stage, 100))
    # Whichever read the most: it may be everything.
    await stage.kill(max(crew, key=lambda worker: worker.fcm.requests))
    await stage.emulator.script()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] > 0


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_during_settling(stage: Stage, close, moment):
    """Before Redis settled it is sent again; after, it is not, though the worker never learnt of it."""
    first = await stage.worker()
    settling = stage.script_fault(
        first, "settle", action="hold request" if moment == "before" else "hold reply"
    )
    await stage.produce(1, tokens=500)
    await settling.hit.wait()
    cut = await stage.kill(first)
    assert len(cut.unsettled) == (500 if moment == "before" else 0)
    await stage.worker()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == (500 if moment == "before" else 0)


async def test_killed_during_reclaim(stage: Stage, close):
    """Who dies while taking over leaves it to the next."""
    first, second = await stage.crew(2)
    asking = stage.script_fault(first, "grant", action="hold request", times=None)
    for worker in stage.workers[1:]:
        worker.redis.inject(Fault(b"XREADGROUP", "drop request", times=None))
    await stage.produce(300)
    await asking.hit.wait()
    await until(lambda: stage.pending(first))
    taking = stage.script_fault(second, "reclaim", action="hold reply")
    await stage.kill(first)
    await taking.hit.wait()
    stage.reclaims.append(time.monotonic())
    await stage.kill(second)
    await stage.worker()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == 0


@pytest.mark.thorough
async def test_killed_twice_in_a_row(stage: Stage, close):
    """The one who takes over dies as well, with the same messages on the wire."""
    await stage.emulator.script(latency=1.0)
    first = await stage.worker()
    await stage.produce(100)
    await until(lambda: stage.emulator.arrived())
    await stage.kill(first)
    arrived = await stage.emulator.arrived()
    second = await stage.worker()
    await until(lambda: more_than(stage, arrived))
    await stage.kill(second)
    await stage.worker()
    await stage.settled()
    await close(stage)


async def more_than(stage: Stage, count: int) -> bool:
    return await stage.emulator.arrived() > count


async def test_a_job_with_a_dedup_key_is_sent_although_its_first_reader_died(stage: Stage, close):
    """Its own key does not make a redelivered job a duplicate; a second job with the key is one."""
    first = await stage.worker()
    asking = stage.script_fault(first, "grant", action="hold request", times=None)
    for number in range(20):
        await stage.produce(1, dedup_key=f"order-{number}")
    await until(lambda: counts(stage, first, 20))
    await asking.hit.wait()
    await stage.kill(first)
    for number in range(20):
        await stage.produce(1, dedup_key=f"order-{number}", may=["duplicate"])
    await stage.worker()
    await stage.settled()
    found = await close(stage)
    assert (found["sends"], found["duplicates"]) == (20, 0)


async def counts(stage: Stage, worker, count: int) -> bool:
    return await stage.pending(worker, PROJECT) == count
