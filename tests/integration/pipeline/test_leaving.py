"""A worker that goes: told to, or killed."""

import json
import signal
from collections import Counter

JOBS = 2000


async def load(desk, count: int = JOBS) -> None:
    pipe = desk.redis.pipeline(transaction=False)
    for n in range(count):
        pipe.xadd(desk.key("jobs:normal"), {"message": f'{{"token":"t-{n}"}}', "id": f"j-{n}"})
    await pipe.execute()


async def begun(desk) -> bool:
    return len(await desk.recorded()) >= 100


async def test_sigterm_under_load_loses_nothing_and_costs_nothing(desk, emulator, spawn):
    emulator.script(latency=0.1)
    await load(desk)
    first = spawn(lease_s=1, batch_size=10, max_concurrent_requests=8)
    await desk.until(lambda: begun(desk))
    first.send(signal.SIGTERM)
    assert await first.stopped() == 0
    before = len(await desk.recorded())
    assert before < JOBS
    consumers = await desk.redis.xinfo_consumers(desk.key("jobs:normal"), "dispatcher")
    assert {c["name"] for c in consumers} <= {b"released"}
    assert not [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    # What it sent is settled: nothing is on its way.
    assert len(emulator.arrivals()) == before
    spawn(lease_s=1)
    outcomes = await desk.outcomes(JOBS, within=30)
    assert {o["job"] for o in outcomes} == {f"j-{n}" for n in range(JOBS)}
    assert {(o["status"], o["attempts"]) for o in outcomes} == {("accepted", 1)}
    assert not any(o.get("possible_duplicate") for o in outcomes)
    assert len(emulator.arrivals()) == JOBS
    assert first.said("worker_stopped")


async def test_sigterm_while_idle(desk, spawn):
    worker = spawn()
    await desk.until(lambda: worker.said("redis_reached"))
    worker.send(signal.SIGTERM)
    assert await worker.stopped(10) == 0


async def test_sigterm_does_not_wait_for_answers_for_ever(desk, emulator, spawn):
    """What is cut off on the wire is of unknown fate: sent again by the next worker, and marked."""
    emulator.script({"delay": 20, "times": 1})
    await desk.add(message={"token": "t"})
    first = spawn(drain_s=1, request_timeout_s=60)
    await desk.until(emulator.arrivals)
    first.send(signal.SIGTERM)
    assert await first.stopped(10) == 0
    assert first.said("answers_not_awaited")
    spawn(lease_s=1)
    [outcome] = await desk.outcomes()
    assert (outcome["status"], outcome["possible_duplicate"]) == ("accepted", True)


async def test_sigterm_does_not_wait_for_quota_that_was_reserved(desk, emulator, spawn):
    """A multicast of 100 at 60 a minute has its turn in two minutes: another worker's, then."""
    await desk.add(message={"data": {"a": "b"}}, tokens=json.dumps([f"t-{n}" for n in range(100)]))
    worker = spawn(quota_per_minute=60, drain_s=600)
    await desk.until(lambda: reserved(desk))
    worker.send(signal.SIGTERM)
    assert await worker.stopped() == 0
    assert worker.said("jobs_handed_back")["jobs"] == 1
    assert emulator.arrivals() == []


async def reserved(desk) -> bool:
    """Whether more of the quota is granted than a minute brings."""
    quota = await desk.redis.get(desk.key("quota"))
    return quota is not None and int(quota.partition(b":")[2]) > 60e6


async def test_what_a_drain_hands_back_is_for_others(desk, emulator, spawn):
    emulator.script(latency=4.0)
    for n in range(5):
        await desk.add(message={"token": f"t-{n}"})
    worker = spawn(lease_s=1, batch_size=1, max_concurrent_requests=1)
    await desk.until(emulator.arrivals)
    worker.send(signal.SIGTERM)
    assert await worker.stopped() == 0
    assert len(await desk.recorded()) == 1
    assert not worker.said("jobs_reclaimed"), "it took back what it had just handed over"
    assert worker.said("jobs_handed_back")["jobs"] == 4


async def test_a_killed_workers_jobs_are_taken_over_and_settled_once(desk, emulator, spawn):
    emulator.script(latency=0.1)
    await load(desk)
    first = spawn(lease_s=1, batch_size=10, max_concurrent_requests=8)
    await desk.until(lambda: begun(desk))
    first.send(signal.SIGKILL)
    await first.stopped()
    settled, arrived = len(await desk.recorded()), len(emulator.arrivals())
    emulator.script()
    second = spawn(lease_s=1)
    outcomes = await desk.outcomes(JOBS, within=60)
    assert Counter(o["job"] for o in outcomes) == Counter(f"j-{n}" for n in range(JOBS))
    assert {o["status"] for o in outcomes} == {"accepted"}
    assert await desk.backlog() == 0
    # Sent twice is at most what was on the wire, 8 batches of 10 that may be read after the count, or just answered.
    assert JOBS <= len(emulator.arrivals()) <= JOBS + arrived - settled + 80
    assert second.said("jobs_reclaimed")


async def test_two_workers_share_the_work_and_repeat_nothing(desk, emulator, spawn):
    emulator.script(latency=0.05)
    spawn(batch_size=10)
    spawn(batch_size=10)
    await load(desk)
    outcomes = await desk.outcomes(JOBS, within=30)
    assert Counter(o["job"] for o in outcomes) == Counter(f"j-{n}" for n in range(JOBS))
    assert len(emulator.arrivals()) == JOBS
