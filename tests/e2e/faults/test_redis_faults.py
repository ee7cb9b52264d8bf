"""Redis goes away, comes back, forgets, fills up, and loses replies."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio
import redis.exceptions
from harness.jobs import job
from harness.ledger import read_outcomes
from harness.proxy import Fault, Proxy
from harness.stage import PROJECT, Stage
from harness.waiting import pass_time, until

AOF = ("--appendonly", "yes", "--appendfsync", "everysec")


async def test_redis_is_killed_and_comes_back_with_its_append_only_file(make_stage, close):
    """Every job and every acknowledgement that Redis answered for is there again."""
    stage = await make_stage(redis_options=AOF)
    await stage.emulator.script(latency=0.1)
    workers = await stage.crew(2, max_concurrent_requests=4, batch_size=50)
    await stage.produce(3000)
    await until(lambda: stage.emulator.accepted())
    async with stage.held_still("Redis killed under", *workers):
        await stage.redis.kill()
    await stage.redis.start()
    await stage.settled()
    await close(stage)


@pytest.mark.thorough
async def test_redis_comes_back_empty(stage: Stage, close):
    """What it forgot is lost, as announced; what comes after is served without a restart of any worker."""
    await stage.emulator.script(latency=0.2)
    await stage.crew(2, max_concurrent_requests=2, batch_size=50)
    await stage.produce(1000)
    await until(lambda: stage.emulator.accepted())
    stage.faults += 1
    await stage.redis.kill()
    stage.asked.clear()
    await stage.redis.start()
    after = await stage.produce(500)
    await until(lambda: all_ended(stage, after), 30)
    await stage.settled()
    found = await close(stage, others=True, counters=False)
    assert found["duplicates"] == 0


async def all_ended(stage: Stage, names: list[str]) -> bool:
    ended = {name for name, _ in await read_outcomes(stage)}
    return ended.issuperset(names)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["refused", "silent"])
@pytest.mark.short_lease
async def test_an_outage_longer_than_every_lease(stage: Stage, close, kind):
    """No worker died, and nobody takes over from anybody: what was on the wire is settled when Redis is back."""
    await stage.emulator.script(latency=0.2)
    workers = await stage.crew(2, max_concurrent_requests=2, batch_size=50)
    await stage.produce(1000)
    await until(stage.emulator.arrived)
    async with stage.held_still("outage of Redis for", *workers):
        for worker in workers:
            if kind == "refused":
                await worker.redis.refuse()
            else:
                worker.redis.lost_up = True
    await pass_time(2.5 * stage.lease_s)
    arrived = await stage.emulator.arrived()
    for worker in workers:
        if kind == "refused":
            await worker.redis.listen()
        else:
            worker.redis.clear()
            worker.redis.reset()
    await stage.settled()
    assert arrived < 1000, "nothing may be sent without a lease"
    # Whose settlement it was whose reply got lost cannot be told after a lapse: one worker may count too little.
    found = await close(stage, counters=False)
    assert found["duplicates"] == 0


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_one_worker_loses_redis_for_longer_than_its_lease(stage: Stage, close):
    """It stops sending; its jobs are another's, and its late answers count once."""
    first = await one_of_two_loses_redis(stage)
    await until(lambda: not_leased(stage, first), what="the lease has run out")
    await until(lambda: nothing_of(stage, first), what="its jobs are another's")
    await first.redis.listen()
    await stage.settled()
    # What it answered meanwhile is counted by whoever was first, which it cannot always tell.
    await close(stage, counters=False)


@pytest.mark.thorough
async def test_one_worker_loses_redis_for_a_moment(stage: Stage, close):
    """Its lease lasts, so that nobody takes its jobs over: they are settled when Redis is back."""
    first = await one_of_two_loses_redis(stage)
    await pass_time(0.5)
    await first.redis.listen()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == 0


async def one_of_two_loses_redis(stage: Stage):
    """Two workers, of which neither can take all there is; then the first has no Redis any more."""
    await stage.emulator.script(latency=0.2)
    first, _ = await stage.crew(2, max_concurrent_requests=2, batch_size=50, max_in_flight=200)
    await stage.produce(3000)
    await until(lambda: both_work(stage))
    async with stage.held_still("Redis lost for", first):
        await first.redis.refuse()
    return first


async def not_leased(stage: Stage, worker) -> bool:
    return not await stage.leased(worker)


async def nothing_of(stage: Stage, worker) -> bool:
    return not await stage.pending(worker)


async def both_work(stage: Stage) -> bool:
    requests = [worker.fcm.requests for worker in stage.workers]
    return all(requests) and all([await stage.pending(worker) for worker in stage.workers])


async def test_the_reply_to_a_settlement_is_lost(stage: Stage, close):
    """It is repeated, and finds that everything is done."""
    worker = await stage.worker()
    stage.script_fault(worker, "settle", action="drop reply", times=3)
    await stage.produce(500)
    await stage.settled()
    await until(lambda: idle(worker))
    found = await close(stage)
    assert found["duplicates"] == 0


@pytest.mark.thorough
async def test_a_settlement_is_lost_on_its_way(stage: Stage, close):
    """It is repeated, and done."""
    worker = await stage.worker()
    stage.script_fault(worker, "settle", action="drop request", times=3)
    await stage.produce(500)
    await stage.settled()
    await until(lambda: idle(worker))
    assert (await close(stage))["duplicates"] == 0


async def test_the_reply_to_a_read_is_lost(stage: Stage, close):
    """The entries are pending for a worker that lives and knows nothing of them: it finds them itself."""
    worker = await stage.worker()
    await stage.produce(200)
    await stage.settled()
    lost = worker.redis.inject(Fault(b"XREADGROUP", "drop reply", times=2, skip=1))
    await stage.produce(400, lane="bulk")
    await lost.hit.wait()
    await stage.settled()
    found = await close(stage)
    assert (found["duplicates"], await worker_deaths(stage)) == (0, 0)


async def worker_deaths(stage: Stage) -> int:
    return sum(len(worker.said("jobs_reclaimed")) for worker in stage.workers)


async def test_the_reply_to_a_promotion_is_lost(stage: Stage, close):
    """Each job is moved once."""
    worker = await stage.worker()
    await stage.emulator.script({"error": "UNAVAILABLE", "times": 100})
    stage.script_fault(worker, "promote", action="drop reply", times=20)
    await stage.produce(100)
    await stage.settled()
    found = await close(stage)
    assert (found["sends"], found["duplicates"]) == (200, 0)


async def test_the_reply_to_an_enqueueing_is_lost(stage: Stage, close):
    """The producer asks again with the same dedup_key: both entries are there, and one is sent."""
    await stage.worker()
    async with Proxy(stage.redis.path) as proxy:
        client = redis.asyncio.Redis(port=proxy.port, protocol=2, retry=None)
        lost = proxy.inject(Fault(b"XADD", "drop reply"))
        key = stage.keys.stream(PROJECT, "normal")
        fields = job("twice") | {"dedup_key": "order-1"}
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.xadd(key, fields)
        assert lost.hits == 1
        await client.xadd(key, fields)
        await client.aclose()
    stage.faults += 1
    stage.expect(fields, may=["accepted", "duplicate"], entries=2)
    await stage.settled()
    found = await close(stage)
    assert (found["sends"], found["duplicates"]) == (1, 0)


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_the_reply_to_a_reclaim_is_lost(stage: Stage, close):
    """Entries that were claimed and never arrived are found by reconciling."""
    first, second = await stage.crew(2)
    asking = stage.script_fault(first, "grant", action="hold request", times=None)
    second.redis.lost_up = True
    await stage.produce(200)
    await asking.hit.wait()
    second.redis.clear()
    second.redis.reset()
    stage.script_fault(second, "reclaim", action="drop reply", times=1)
    await stage.kill(first)
    await stage.settled()
    found = await close(stage, spread=5)
    assert found["duplicates"] == 0


@pytest.mark.thorough
async def test_scripts_are_flushed_and_connections_killed_and_paused(stage: Stage, close):
    """Administration in full flow."""
    await stage.emulator.script(latency=0.05)
    await stage.crew(2, max_concurrent_requests=4, batch_size=50)
    client = stage.redis.client
    for _ in range(3):
        await stage.produce(500)
        await client.script_flush()
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await client.execute_command("CLIENT", "PAUSE", "300", "ALL")
        stage.faults += 3
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == 0


@pytest.mark.short_lease
async def test_a_full_redis_refuses_producers_and_is_drained(stage: Stage, close):
    """At maxmemory nothing can be enqueued, and everything that is there is sent and settled."""
    client = stage.redis.client
    await stage.worker(ready=False)
    await until(lambda: stage.leased(stage.workers[0]))
    stage.freeze(stage.workers[0])
    refused = 0
    await client.config_set("maxmemory", 12 << 20)
    while not refused:
        try:
            await stage.produce(500, size=600)
        except redis.exceptions.OutOfMemoryError:
            refused = 1
    await until(lambda: lease_is_gone(stage))
    stage.thaw(stage.workers[0])
    await stage.settled()
    found = await close(stage)
    found["measured"] = (
        f"{found['messages']:,} jobs of some 800 bytes were in Redis when its 12 MiB were full"
    )
    assert found["messages"] > 1000
    assert found["duplicates"] == 0


async def lease_is_gone(stage: Stage) -> bool:
    return not await stage.leased(stage.workers[0])


@pytest.mark.thorough
async def test_retries_of_a_full_redis_are_drained_too(stage: Stage, close):
    """Redis fills up while a thousand retries wait: promotion and settling go on."""
    client = stage.redis.client
    worker = await stage.worker()
    await stage.emulator.script({"error": "UNAVAILABLE", "times": 300})
    await stage.produce(1000)
    await until(lambda: client.zcard(stage.keys.delayed(PROJECT)))
    # Or it settles so fast that there is room again.
    stage.freeze(worker)
    info = await client.info("memory")
    await client.config_set("maxmemory", info["used_memory"] - (64 << 10))
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        await produce_without_end(stage)
    stage.thaw(worker)
    await stage.settled()
    found = await close(stage)
    assert found["sends"] == found["messages"] + 300


async def produce_without_end(stage: Stage) -> None:
    """What Redis frees meanwhile (buffers, garbage of scripts) may be more than it is said to lack."""
    while True:
        await stage.produce(1)


async def idle(worker) -> bool:
    return await worker.counted("in_flight_messages") == 0


@pytest.mark.thorough
async def test_a_slow_redis_slows_the_workers_and_nothing_else(stage: Stage, close):
    """Replies trickle in at 200 kB a second for a while."""
    worker = await stage.worker(batch_size=100)
    worker.redis.bytes_per_s = 200_000
    stage.faults += 1
    await stage.produce(1000)
    await until(lambda: stage.emulator.accepted())
    worker.redis.clear()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == 0


@pytest.mark.thorough
async def test_redis_drops_replies_at_random(stage: Stage, close):
    """One reply in twenty is lost, whatever it answered, for the time of a thousand jobs."""
    await stage.emulator.script(latency=0.05)
    workers = await stage.crew(2, max_concurrent_requests=4, batch_size=50)
    dice = stage.random
    stop = asyncio.Event()

    async def lose() -> None:
        while not stop.is_set():
            worker = dice.choice(workers)
            fault = worker.redis.inject(Fault(b"", "drop reply", skip=dice.randrange(40)))
            stage.faults += 1
            await asyncio.wait([asyncio.create_task(fault.hit.wait())], timeout=2)

    losing = asyncio.create_task(lose())
    for _ in range(5):
        await stage.produce(300)
        await until(lambda: few(stage), 60)
    stop.set()
    await losing
    for worker in workers:
        worker.redis.clear()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == 0


async def few(stage: Stage) -> bool:
    return await stage.waiting() < 100
