"""Workers that fall silent, or are asked to go: they neither send what is no longer theirs, nor lose what is."""

from __future__ import annotations

import asyncio
import signal

import pytest
from harness.gate import Gate
from harness.ledger import read_outcomes
from harness.proxy import Fault
from harness.stage import Stage
from harness.waiting import until


@pytest.mark.short_lease
async def test_a_late_retry_of_a_worker_that_slept_past_its_lease_does_not_count(stage: Stage, close):
    """Its messages were taken over and accepted; the 503 it wakes up to changes nothing any more."""
    first = await stage.worker()
    await stage.emulator.script({"per": "request", "wire": "batch", "error": "UNAVAILABLE", "times": 1})
    answer = first.fcm.inject(Fault(b"POST /batch", "hold reply"))
    await stage.produce(1, tokens=200)
    await answer.hit.wait()
    stage.freeze(first)
    await stage.worker()
    await stage.settled()
    answer.release()
    stage.thaw(first)
    await until(lambda: counted(first, "stale_settlements_total"))
    found = await close(stage)
    assert (found["duplicates"], found["sends"]) == (0, 200)


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_late_accepted_of_a_worker_that_slept_past_its_lease_counts_once(stage: Stage, close):
    """First wins: what was on the wire is accepted twice by FCM, and recorded once."""
    first = await stage.worker()
    answer = first.fcm.inject(Fault(b"POST /batch", "hold reply"))
    await stage.produce(1, tokens=200)
    await answer.hit.wait()
    stage.freeze(first)
    await stage.note(first, "sleep of")
    await stage.worker()
    await stage.settled()
    answer.release()
    stage.thaw(first)
    await until(lambda: counted(first, "stale_settlements_total"))
    found = await close(stage)
    assert found["duplicates"] == found["bound"] == 200


@pytest.mark.parametrize("transport", ["batch", "v1", "v1-h2"])
@pytest.mark.short_lease
async def test_a_worker_that_slept_past_its_lease_sends_nothing_that_others_have(
    make_stage, close, transport
):
    """Neither what waits for a slot nor the rest of a batch that is being sent message by message."""
    stage: Stage = await make_stage(tls=transport == "v1-h2")
    await stage.emulator.script(latency=0.3)
    first = await stage.worker(transport=transport, max_concurrent_requests=2, batch_size=20)
    await stage.produce(120)
    await until(stage.emulator.arrived)
    stage.freeze(first)
    await stage.note(first, "sleep of")
    await stage.emulator.script()
    await stage.worker(transport=transport)
    await stage.settled()
    stage.thaw(first)
    await until(lambda: counted(first, "leases_lost_total"))
    await until(lambda: idle(first))
    found = await close(stage)
    assert found["duplicates"] <= (40 if transport == "batch" else 2)


@pytest.mark.parametrize("moment", ["anywhere", "before the write"])
@pytest.mark.short_lease
async def test_a_worker_whose_loop_was_blocked_past_its_lease_sends_nothing_that_others_have(
    stage: Stage, close, tmp_path, moment
):
    """The process runs, its loop does not: when it goes on, time has passed for it as for everybody."""
    async with Gate(tmp_path / "gate") as gate:
        await stage.emulator.script(latency=0.3)
        first = await stage.worker(gate=gate, max_concurrent_requests=2, batch_size=20)
        # Enough that there is a next request, whenever the signal comes.
        await stage.produce(1000)
        await until(stage.emulator.arrived)
        stage.faults += 1
        first.signal(signal.SIGUSR1 if moment == "anywhere" else signal.SIGUSR2)
        await gate.reached.wait()
        await stage.note(first, "blocked loop of")
        await until(lambda: not_leased(stage, first))
        sent = first.fcm.requests
        await stage.emulator.script()
        await stage.worker()
        await stage.settled()
        gate.open()
        await until(lambda: counted(first, "leases_lost_total"))
        await until(lambda: idle(first))
        assert first.fcm.requests == sent
        # Whose settlement it was whose reply timed out while the loop stood still cannot be told after a lapse.
        found = await close(stage, counters=False)
        assert found["duplicates"] <= 40


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_late_retry_of_a_worker_whose_loop_was_blocked_does_not_count(stage: Stage, close, tmp_path):
    """Its kernel has the 503 long before its loop reads it; others have settled the messages by then."""
    async with Gate(tmp_path / "gate") as gate:
        first = await stage.worker(gate=gate)
        await stage.emulator.script({"per": "request", "wire": "batch", "error": "UNAVAILABLE", "times": 1})
        answer = first.fcm.inject(Fault(b"POST /batch", "hold reply"))
        await stage.produce(1, tokens=200)
        await answer.hit.wait()
        stage.faults += 1
        first.signal(signal.SIGUSR1)
        await gate.reached.wait()
        answer.release()
        await stage.worker()
        await stage.settled()
        gate.open()
        await until(lambda: counted(first, "stale_settlements_total"))
        found = await close(stage)
        assert (found["duplicates"], found["sends"]) == (0, 200)


async def not_leased(stage: Stage, worker) -> bool:
    return not await stage.leased(worker)


@pytest.mark.parametrize(
    ("transport", "at_once"),
    [("batch", 4), pytest.param("v1-h2", 200, marks=(pytest.mark.thorough, pytest.mark.short_lease))],
    ids=["batch", "v1-h2"],
)
async def test_a_sigterm_in_full_flow_loses_nothing_and_repeats_nothing(
    make_stage, close, transport, at_once
):
    """What is on the wire is settled, the rest handed back, and no attempt is charged."""
    stage: Stage = await make_stage(tls=transport == "v1-h2", settings={"transport": transport})
    await stage.emulator.script(latency=0.3)
    first = await stage.worker(max_concurrent_requests=at_once, batch_size=50)
    await stage.produce(3000)
    await until(stage.emulator.arrived)
    stage.faults += 1
    await first.metrics()
    assert await first.stop() == 0
    await stage.emulator.script()
    await stage.worker()
    await stage.settled()
    found = await close(stage, counters=False)
    assert found["duplicates"] == 0
    assert await attempts(stage) == {1}


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_second_sigterm_ends_at_once_and_costs_only_what_was_on_the_wire(stage: Stage, close):
    """The fast exit: nothing is awaited."""
    await stage.emulator.script(latency=100.0)
    first = await stage.worker(max_concurrent_requests=2, batch_size=50, request_timeout_s=100, drain_s=100)
    await stage.produce(500)
    await until(stage.emulator.arrived)
    first.signal(signal.SIGTERM)
    await until(lambda: first.said("worker_draining"))
    await stage.note(first, "second SIGTERM of")
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    await stage.emulator.script()
    await stage.worker()
    await stage.settled()
    found = await close(stage, counters=False)
    assert found["duplicates"] <= 100


@pytest.mark.thorough
async def test_a_rolling_restart_of_three_workers_under_load(stage: Stage, close):
    """A deployment: each is replaced in turn, while jobs keep coming."""
    await stage.emulator.script(latency=0.1)
    flow = {"max_concurrent_requests": 4, "batch_size": 50}
    old = await stage.crew(3, **flow)
    done = asyncio.Event()

    async def load() -> int:
        sent = 0
        while not done.is_set():
            sent += len(await stage.produce(100))
            await until(lambda: few(stage), 30)
        return sent

    loading = asyncio.create_task(load())
    for worker in old:
        stage.faults += 1
        await stage.worker(**flow)
        await worker.metrics()
        assert await worker.stop() == 0
    done.set()
    assert await loading > 1000
    await stage.settled()
    found = await close(stage, counters=False)
    assert found["duplicates"] == 0
    assert await attempts(stage) == {1}


async def few(stage: Stage) -> bool:
    return await stage.waiting() < 1500


async def counted(worker, name: str) -> float:
    return await worker.counted(name)


async def idle(worker) -> bool:
    return await worker.counted("in_flight_messages") == 0


async def attempts(stage: Stage) -> set[int]:
    """How many sends the outcomes tell of."""
    return {outcome["attempts"] for ended in (await read_outcomes(stage)).values() for outcome in ended}
