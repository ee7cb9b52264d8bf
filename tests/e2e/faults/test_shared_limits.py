"""What holds for a project holds for all its workers together."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left

import pytest
from harness.stage import PROJECT, Stage
from harness.waiting import until

QUOTA = 12_000
USE = 0.9


@pytest.mark.thorough
@pytest.mark.timeout(150)
async def test_four_workers_share_one_quota(stage: Stage, close):
    """Never more than N in any 60 seconds, and at least 0.98 of N x QUOTA_USE while there is work."""
    await stage.produce(14_000)
    await stage.crew(4, quota_per_minute=QUOTA, quota_use=USE, outcomes="failures")
    began = time.monotonic()
    await until(lambda: time.monotonic() - began > 66, 90)
    rows = [row["time"] for row in await stage.emulator.rows()]
    most = max(end - start for start, end in windows(rows, 60.0))
    used = sum(1 for at in rows if rows[0] + 4 <= at < rows[0] + 64)
    print(f"\nquota {QUOTA}: most in any 60 s {most}, used in a minute {used} of {QUOTA * USE:g}")
    assert most <= QUOTA
    assert used >= 0.98 * QUOTA * USE
    await until(lambda: drained(stage), 60)


async def drained(stage: Stage) -> bool:
    return await stage.waiting() == 0 or len(stage.live) == 4


def windows(times: list[float], seconds: float):
    for start, at in enumerate(times):
        yield start, bisect_left(times, at + seconds)


async def test_a_paused_target_is_left_alone_by_all_and_its_messages_return_in_order(stage: Stage, close):
    """From a second after its 429 nobody sends to it, then its messages come back one by one."""
    await stage.crew(4)
    await stage.emulator.script(
        limits=[{"kind": "token", "target": "busy", "per_second": 4.5, "burst": 3, "retry_after": 3}]
    )
    stage.faults += 1
    await stage.produce(30, target="busy")
    await stage.produce(2000)
    await until(lambda: throttled(stage))
    await stage.produce(10, target="busy")
    await stage.settled(60)
    found = await close(stage)
    rows = [row for row in await stage.emulator.rows() if row["target"] == "busy"]
    refusals = [row["time"] for row in rows if row["status"] == 429]
    early = [row for row in rows for at in refusals if at + 1.0 < row["time"] < at + 3.0]
    assert not early, f"{len(early)} sends to a paused target"
    last = max(at for at in refusals if at < refusals[0] + 1.0)
    back = [row["time"] for row in rows if row["time"] > last + 1.0]
    gaps = [later - earlier for earlier, later in itertools.pairwise(back)]
    assert min(gaps) > 0.1, f"held messages came together: {sorted(gaps)[:5]}"
    assert found["duplicates"] == 0


async def throttled(stage: Stage) -> bool:
    return (await stage.emulator.get("summary"))["by_status"].get("429", 0) > 0


@pytest.mark.thorough
@pytest.mark.timeout(150)
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
    await stage.produce(9000)
    await until(lambda: client.hexists(stage.keys.control(PROJECT), "pause:ramp"))
    began = time.time()
    await until(lambda: time.time() - began > 64, 90)
    times = [row["time"] for row in await stage.emulator.rows() if row["time"] >= began]
    tenths = [sum(began + n * 10 <= at < began + n * 10 + 10 for at in times) for n in range(6)]
    print(f"\nramp, messages in each 10 s: {tenths}")
    full = 12_000 * 0.9 / 6
    for n, sent in enumerate(tenths):
        assert sent <= full * max(0.1, (n + 1) / 6) * 1.1 + 120
    assert tenths[5] > 0.6 * full


async def nothing_read(stage: Stage) -> bool:
    return sum([await stage.pending(worker) for worker in stage.workers]) == 0


@pytest.mark.thorough
async def test_a_wave_of_retries_is_spread(stage: Stage, close):
    """No 100 ms of the second sends holds more than three times their mean."""
    await stage.crew(2)
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
    first, last = times[0], times[-1]
    counts: dict[int, int] = {}
    for at in times:
        counts[int((at - first) * 10)] = counts.get(int((at - first) * 10), 0) + 1
    mean = len(times) / max(1.0, (last - first) * 10)
    print(
        f"\nretry wave: {len(times)} over {last - first:.1f} s, most in 100 ms {max(counts.values())}, mean {mean:.0f}"
    )
    assert max(counts.values()) <= 3 * mean
    assert found["duplicates"] == 0
