"""What holds for a project holds for all its workers together."""

from __future__ import annotations

import itertools
import json
import time
from bisect import bisect_left

import pytest
from harness.stage import PROJECT, Stage
from harness.waiting import until

QUOTA = 12_000
USE = 0.9


@pytest.mark.thorough
async def test_four_workers_share_one_quota(stage: Stage, close):
    """Never more than N in any 60 seconds, and at least 0.98 of N x QUOTA_USE while there is work."""
    await stage.produce(12_600)
    await stage.crew(4, quota_per_minute=QUOTA, quota_use=USE)
    await stage.settled(120)
    times = [row["time"] for row in await stage.emulator.rows()]
    began = times[0] + 4
    most = max(end - start for start, end in windows(times, 60.0))
    used = bisect_left(times, began + 60) - bisect_left(times, began)
    lost = stage.stalled(began, began + 60)
    found = await close(stage)
    found["measured"] = (
        f"quota {QUOTA:,} a minute, QUOTA_USE {USE}, 4 workers: at most {most:,} in any 60 s, "
        f"{used:,} of {QUOTA * USE:,.0f} in a minute with work"
    )
    assert most <= QUOTA
    assert used >= 0.98 * QUOTA * USE * (1 - lost / 60)
    assert found["duplicates"] == 0


def windows(times: list[float], seconds: float):
    for start, at in enumerate(times):
        yield start, bisect_left(times, at + seconds)


async def test_a_paused_target_is_left_alone_by_all_and_its_messages_return_in_order(stage: Stage, close):
    """From a second after its 429 nobody sends to it, then its messages come back one by one, each in its slot."""
    await stage.crew(4)
    await stage.emulator.script(
        limits=[{"kind": "token", "target": "busy", "per_second": 4.5, "burst": 3, "retry_after": 3}]
    )
    stage.faults += 1
    await stage.produce(20, target="busy")
    await stage.produce(2000)
    await until(lambda: throttled(stage))
    await stage.produce(5, target="busy")
    slots: dict[str, float] = {}
    while await stage.waiting():
        slots |= await held(stage)
    found = await close(stage)
    rows = [row for row in await stage.emulator.rows() if row["target"] == "busy"]
    refusals = [row["time"] for row in rows if row["status"] == 429]
    notice = {at: 1.0 + stage.stalled(at, at + 1.0) for at in refusals}
    early = [row for row in rows for at in refusals if at + notice[at] < row["time"] < at + 3.0]
    assert not early, f"{len(early)} sends to a paused target"
    back = [row for row in rows if row["time"] > refusals[0] + 3.0]
    assert {row["id"] for row in back} <= slots.keys()
    for row in back:
        assert row["time"] > slots[row["id"]] - 0.005, f"{row['id']} came before its slot"
    # None before its slot, and no two slots together: what the machine held up, two workers may send at the same time.
    taken = sorted(slots[row["id"]] for row in back)
    assert min(later - earlier for earlier, later in itertools.pairwise(taken)) > 0.2
    gaps = [later["time"] - earlier["time"] for earlier, later in itertools.pairwise(back)]
    last = max(row["time"] - at for row in rows for at in refusals if at <= row["time"] < at + 3.0)
    found["measured"] = (
        f"{len(rows) - len(back)} sends to the target until {last:.2f} s after a 429, none until 3 s after it, "
        f"then {len(back)} one by one, {min(gaps):.2f} s apart at least"
    )
    assert found["duplicates"] == 0


async def held(stage: Stage) -> dict[str, float]:
    """Messages that wait for their target: id and slot, Unix seconds."""
    async with stage.redis.client.pipeline() as pipe:
        pipe.zrange(stage.keys.delayed(PROJECT), 0, -1, withscores=True)
        pipe.hgetall(stage.keys.delayed_jobs(PROJECT))
        due, jobs = await pipe.execute()
    found = {}
    for member, score in due:
        flat = json.loads(jobs[member].removeprefix("S"))
        found[flat[flat.index("id") + 1]] = score / 1000
    return found


async def throttled(stage: Stage) -> bool:
    return (await stage.emulator.get("summary"))["by_status"].get("429", 0) > 0


@pytest.mark.thorough
async def test_a_project_ramps_up_over_a_minute_for_all_workers_together(stage: Stage, close):
    """After a pause (brought forward by the harness) two workers together take a minute to the full rate."""
    client = stage.redis.client
    await stage.crew(2, quota_per_minute=12_000)
    await stage.emulator.script({"per": "request", "wire": "batch", "status": 429, "times": 1})
    stage.faults += 1
    await stage.produce(400)
    await until(lambda: client.hexists(stage.keys.control(PROJECT), "pause:until"))
    await until(lambda: nothing_read(stage))
    await client.hset(stage.keys.control(PROJECT), "pause:until", 1)
    for member in await client.zrange(stage.keys.delayed(PROJECT), 0, -1):
        await client.zadd(stage.keys.delayed(PROJECT), {member: 1}, xx=True)
    await stage.produce(7000)
    await until(lambda: client.hexists(stage.keys.control(PROJECT), "pause:ramp"))
    began = time.time()
    await stage.settled(120)
    times = [row["time"] for row in await stage.emulator.rows() if row["time"] >= began]
    tenths = [sum(began + n * 10 <= at < began + n * 10 + 10 for at in times) for n in range(6)]
    full = 12_000 * 0.9 / 6
    lost = stage.stalled(began + 50, began + 60)
    found = await close(stage)
    found["measured"] = (
        f"messages in each 10 s of the ramp: {', '.join(map(str, tenths))}; full rate {full:.0f}"
    )
    for n, sent in enumerate(tenths):
        assert sent <= full * max(0.1, (n + 1) / 6) * 1.1 + 120
    assert tenths[5] > 0.6 * full * (1 - lost / 10)
    assert found["duplicates"] == 0


async def nothing_read(stage: Stage) -> bool:
    return sum([await stage.pending(worker) for worker in stage.workers]) == 0


@pytest.mark.thorough
async def test_a_wave_of_retries_is_spread(stage: Stage, close):
    """No 100 ms of the second sends holds more than three times their mean."""
    # The retry budget is each worker's own: both have to have sent enough for it.
    await stage.emulator.script(latency=0.05)
    await stage.crew(2, max_in_flight=500)
    await stage.produce(10_000)
    await stage.settled()
    await stage.emulator.script({"error": "UNAVAILABLE", "times": 800})
    stage.faults += 1
    await stage.produce(1000)
    await stage.settled(60)
    found = await close(stage)
    rows = await stage.emulator.rows()
    refused = {row["id"] for row in rows if row["status"] == 503}
    times = sorted(row["time"] for row in rows if row["id"] in refused and row["status"] == 200)
    counts = {times[start]: end - start for start, end in windows(times, 0.1)}
    lasted = times[-1] - times[0]
    mean = len(times) / max(1.0, lasted * 10)
    found["measured"] = (
        f"{len(times)} retries within {lasted:.1f} s: at most {max(counts.values())} in any 100 ms, mean {mean:.0f}"
    )
    for at, count in counts.items():
        # What a stalled machine held up comes at once, whatever it was spread over.
        assert count <= 3 * mean * (1 + stage.stalled(at - 1, at + 0.1) / 0.1)
    assert found["duplicates"] == 0
