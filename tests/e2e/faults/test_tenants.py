"""Many projects, slow targets and large jobs in one worker: none stands in another's way."""

from __future__ import annotations

import pytest
from harness.ledger import read_outcomes
from harness.stage import Stage
from harness.waiting import until

from dispatcher.queue.keys import Keys


async def test_one_paused_project_beside_nineteen_that_flow(make_stage, close):
    """The paused one keeps its backlog, the others do not notice; after a probe it flows as well."""
    names = [f"tenant-{n:02}" for n in range(20)]
    stage = await make_stage(projects=names)
    worker = await stage.worker()
    client = stage.redis.client
    seconds, _ = await client.time()
    pause = {"pause:until": (seconds + 3600) * 1000, "pause:step": 0, "pause:reason": "test"}
    await client.hset(stage.keys.control(names[0]), mapping=pause)
    stage.faults += 1
    await until(lambda: sees_pause(worker, names[0]))
    for name in names:
        await stage.produce(200, project=name)
    await stage.settled(projects=names[1:])
    assert await stage.waiting(names[0]) == 200
    assert {row["project"] for row in await stage.emulator.rows()} == set(names[1:])
    # The hour is over (harness, not product).
    await client.hset(stage.keys.control(names[0]), "pause:until", 1)
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == 0


async def sees_pause(worker, project: str) -> bool:
    return await worker.counted("project_paused", project=project) == 1


@pytest.mark.thorough
async def test_fifty_projects_on_a_handful_of_redis_connections(make_stage, close):
    """Connections do not grow with the projects a worker serves."""
    names = [f"tenant-{n:02}" for n in range(50)]
    stage = await make_stage(projects=names)
    worker = await stage.worker()
    for name in names:
        await stage.produce(20, project=name)
    most = 0
    while any([await stage.waiting(name) for name in names]):
        most = max(most, worker.redis.connections)
    assert most <= 12
    await stage.settled()
    found = await close(stage)
    found["measured"] = f"{most} connections to Redis at most"


@pytest.mark.thorough
async def test_a_slow_target_beside_ninety_nine_that_are_not(stage: Stage, close):
    """One topic takes its time to answer; the tokens' outcomes are all there before."""
    await stage.worker()
    await stage.emulator.script({"kind": "topic", "delay": 15.0})
    stage.faults += 1
    key = stage.keys.stream(stage.projects[0], "normal")
    for number in range(3):
        name = f"slow-{number}"
        fields = {"id": name, "message": f'{{"topic":"slow","data":{{"id":"{name}"}}}}'}
        await stage.redis.client.xadd(key, fields)
        stage.expect_message(name, "slow")
    await stage.produce(990)
    await until(lambda: ended(stage, 990), what="the tokens' outcomes")
    assert not any(name.startswith("slow") for name, _ in await read_outcomes(stage))
    await stage.settled()
    assert (await close(stage))["duplicates"] == 0


async def ended(stage: Stage, count: int) -> bool:
    return len(await read_outcomes(stage)) >= count


@pytest.mark.thorough
async def test_large_jobs_stay_within_the_memory_that_is_allowed(stage: Stage, close):
    """A lane of 500-token jobs and a flood of 4 KB messages under 4 MiB in flight."""
    await stage.worker(max_in_flight_bytes=4 << 20, max_in_flight=5000)
    for _ in range(20):
        await stage.produce(1, tokens=500, lane="bulk")
    await stage.produce(4000, size=3800)
    worker = stage.workers[0]
    most = 0.0
    while await stage.waiting():
        most = max(most, await worker.counted("in_flight_bytes"))
    assert most <= (4 << 20) + (1 << 20)
    found = await close(stage)
    found["measured"] = (
        f"at most {most / 2**20:.1f} MiB of jobs in flight where 4 are allowed, {found['peak_rss_mb']} MiB the process"
    )


@pytest.mark.thorough
async def test_the_high_lane_overtakes_a_backlog(stage: Stage, close):
    """Twenty urgent jobs behind five thousand others are among the first thousand to be sent."""
    await stage.emulator.script(latency=0.1)
    await stage.worker(max_concurrent_requests=2, batch_size=100)
    await stage.produce(3000, lane="bulk")
    await until(stage.emulator.accepted)
    urgent = set(await stage.produce(20, lane="high"))
    before = await stage.emulator.arrived()
    await stage.settled(60)
    rows = await stage.emulator.rows()
    last = max(number for number, row in enumerate(rows) if row["id"] in urgent)
    assert last <= before + 700
    assert Keys().stream(stage.projects[0], "high")
    await close(stage)
