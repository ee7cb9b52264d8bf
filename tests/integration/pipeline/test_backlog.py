"""A million jobs waiting in `bulk`, and somebody in a hurry."""

MILLION = 1_000_000

FILL = """
for n = 1, tonumber(ARGV[1]) do
  redis.call('XADD', KEYS[1], '*', 'message', '{"token":"bulk-' .. n .. '"}')
end
"""


async def fill(desk) -> None:
    for _ in range(10):
        await desk.redis.eval(FILL, 1, desk.key("jobs:bulk"), MILLION // 10)


async def busy(desk) -> bool:
    """The worker is at it."""
    return await desk.redis.xlen(desk.key("outcomes")) >= 5


async def test_a_retry_due_in_a_second_is_sent_within_three(desk, emulator, spawn):
    emulator.script({"target": "urgent", "error": "UNAVAILABLE", "retry_after": 1, "times": 1})
    await fill(desk)
    worker = spawn()
    await desk.until(lambda: busy(desk))
    await desk.add(message={"token": "urgent"})
    first, second = await desk.until(lambda: _twice(emulator))
    assert 1.0 <= second["time"] - first["time"] <= 3.0
    assert second["status"] == 200
    assert await desk.redis.xlen(desk.key("jobs:bulk")) > MILLION / 2
    assert worker.process.poll() is None


def _twice(emulator):
    arrivals = emulator.arrivals(target="urgent")
    return arrivals if len(arrivals) == 2 else None


async def test_a_high_job_overtakes_a_million_bulk_jobs(desk, emulator, spawn):
    await fill(desk)
    worker = spawn()
    await desk.until(lambda: busy(desk))
    for n in range(3):
        await desk.add("high", {"token": f"high-{n}"})
        await desk.until(lambda n=n: emulator.arrivals(target=f"high-{n}"), within=3.0)
    await desk.until(lambda: _settled(desk))
    assert await desk.redis.xlen(desk.key("jobs:bulk")) > MILLION / 2
    assert worker.process.poll() is None


async def _settled(desk) -> bool:
    return await desk.redis.xlen(desk.key("jobs:high")) == 0
