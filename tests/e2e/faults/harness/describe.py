"""For whoever looks into a failure (FAULT_LOGS=1)."""

from __future__ import annotations

from harness.stage import STREAMS, Stage


async def describe(stage: Stage) -> None:
    """Print what is left, and what every worker said."""
    client = stage.redis.client
    for project in stage.projects:
        if not await stage.waiting(project):
            continue
        print(project, await client.hgetall(stage.keys.control(project)))
        print("delayed", (await client.zrange(stage.keys.delayed(project), 0, 2, withscores=True)))
        for stream in STREAMS:
            key = stage.keys.stream(project, stream)  # type: ignore[arg-type]
            if await client.exists(key):
                print(stream, await client.xlen(key), await client.xinfo_consumers(key, "dispatcher"))
    for worker in stage.live:
        for series, value in (await worker.metrics()).items():
            if value and "bucket" not in series:
                print(worker.name, series, value)
    for worker in stage.workers:
        for at, line in worker.lines:
            print(f"{at:.2f} {worker.name} {line}")
        print(*worker.words, sep="\n")
