"""Redis away: at the start, and while there is work. And settings that will not do."""

import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import redis.asyncio

from dispatcher.pipeline.upkeep import observer
from dispatcher.queue.embedded import find_servers
from dispatcher.telemetry.metrics import SHARED, Metrics


class Durable:
    """A server with an append-only file, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/s"
        self.process = None

    def start(self) -> None:
        command = [str(find_servers()[0]), "--port", "0", "--unixsocket", f"{self.folder}/s", "--save", ""]
        command += ["--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    async def answers(self) -> bool:
        client = redis.asyncio.Redis.from_url(self.url, protocol=2)
        try:
            return bool(await client.ping())
        except redis.RedisError:
            return False
        finally:
            await client.aclose()


@pytest.fixture
def durable(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    server = Durable(folder)
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
async def away_desk(desk, durable):
    """What the producer sees of the server that comes and goes."""
    client = redis.asyncio.Redis.from_url(durable.url, protocol=2)
    yield type(desk)(client)
    await client.aclose()


async def ready(worker) -> bool:
    return (await worker.get("/readyz")).status_code == 200


async def test_redis_that_is_away_at_the_start_is_waited_for(away_desk, durable, spawn):
    worker = spawn(redis_url=durable.url)
    await away_desk.until(lambda: worker.said("redis_unreachable"))
    answer = await worker.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["redis"]["ok"] is False
    assert (await worker.get("/livez")).status_code == 200
    # What alerts go by: that Redis is away is told, and no token runs out that nobody has asked for yet.
    shown = (await worker.get("/metrics")).text
    assert "\ndispatcher_redis_up 0.0\n" in shown
    assert "\ndispatcher_credential_expires_in_seconds" not in shown
    durable.start()
    await away_desk.until(durable.answers)
    await away_desk.add(message={"token": "t"})
    [outcome] = await away_desk.outcomes()
    assert outcome["status"] == "accepted"
    assert await away_desk.until(lambda: ready(worker))
    assert [line["event"] for line in worker.log()].count("redis_unreachable") == 1
    await away_desk.until(lambda: shows(worker, "\ndispatcher_redis_up 1.0\n"))
    await away_desk.until(lambda: shows(worker, "\ndispatcher_credential_expires_in_seconds"))


async def shows(worker, text: str) -> bool:
    return text in (await worker.get("/metrics")).text


async def test_a_worker_without_redis_shows_its_last_numbers_no_more(away_desk, durable, serve, monkeypatch):
    """The greatest number of all replicas counts: that of one which is cut off would be the oldest."""
    monkeypatch.setattr(observer, "STALE_S", 0.0)
    durable.start()
    await away_desk.until(durable.answers)
    worker = await serve(redis_url=durable.url)
    shared = [row.name for row in Metrics("").rows() if row.meaning.endswith(SHARED)]

    async def shown() -> set[str]:
        text = (await worker.face.get("/metrics")).text
        return {name for name in shared if f"\n{name}" in text}

    async def known() -> bool:
        return {"dispatcher_backlog_jobs", "dispatcher_redis_memory_bytes"} <= await shown()

    async def nothing() -> bool:
        return not await shown()

    await away_desk.until(known)
    durable.stop()
    await away_desk.until(nothing)
    assert await worker.face.metric("redis_up") == 0
    durable.start()
    await away_desk.until(known)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_redis_that_goes_away_under_load_costs_nothing(how, away_desk, durable, spawn, emulator):
    emulator.script(latency=0.05)
    durable.start()
    await away_desk.until(durable.answers)
    count = 1500
    await away_desk.add_many("normal", [{"token": f"t-{n}"} for n in range(count)])
    worker = spawn(redis_url=durable.url, batch_size=10, max_concurrent_requests=8, lease_s=2)
    await away_desk.until(away_desk.recorded)
    durable.stop(how)
    await away_desk.until(lambda: worker.said("queue_unavailable") or worker.said("settling_waits_for_redis"))
    await away_desk.until(lambda: _not_ready(worker))
    assert (await worker.get("/livez")).status_code == 200
    durable.start()
    await away_desk.until(durable.answers)
    outcomes = await away_desk.outcomes(count, within=40)
    assert {o["status"] for o in outcomes} == {"accepted"}
    targets = Counter(o["target"]["token"] for o in outcomes)
    assert targets == Counter(f"t-{n}" for n in range(count))
    # It knew what it held: nothing had to be sent again.
    assert len(emulator.arrivals()) == count
    assert await away_desk.until(lambda: ready(worker))
    assert worker.process.poll() is None


async def _not_ready(worker) -> bool:
    return not await ready(worker)


async def test_sigterm_while_redis_is_away_ends_in_time(away_desk, durable, spawn, emulator):
    emulator.script(latency=0.3)
    durable.start()
    await away_desk.until(durable.answers)
    await away_desk.add_many("normal", [{"token": f"t-{n}"} for n in range(2000)])
    worker = spawn(redis_url=durable.url, batch_size=10, max_concurrent_requests=8, drain_s=3, lease_s=1)
    await away_desk.until(away_desk.recorded)
    durable.stop()
    await away_desk.until(lambda: worker.said("queue_unavailable") or worker.said("settling_waits_for_redis"))
    worker.send(signal.SIGTERM)
    assert await worker.stopped(20) == 0


WRONG = {
    "no Redis": ({"redis_url": ""}, "DISPATCHER_REDIS_URL"),
    "no such Redis scheme": ({"redis_url": "http://localhost"}, "DISPATCHER_REDIS_URL"),
    "a wire of later": ({"transport": "xmpp"}, "DISPATCHER_TRANSPORT"),
    "an unknown setting": ({"btch_size": "5"}, "DISPATCHER_BTCH_SIZE"),
    "no number": ({"batch_size": "many"}, "DISPATCHER_BATCH_SIZE"),
    "no such file": ({"credentials": "/no/such/key.json"}, "/no/such/key.json"),
    "a project without a key": ({"projects": "another"}, "another"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_wrong_settings_end_with_2_and_one_line(what, spawn, desk, tmp_path):
    settings, named = WRONG[what]
    worker = spawn(**settings)
    assert await worker.stopped() == 2
    lines = (tmp_path / "worker-0.log").read_text().splitlines()
    assert len(lines) == 1
    assert named in lines[0]


async def test_a_port_that_is_taken_is_a_wrong_setting(spawn, desk, tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        worker = spawn(http_port=taken.getsockname()[1])
        assert await worker.stopped() == 2
    assert "DISPATCHER_HTTP_PORT" in (tmp_path / "worker-0.log").read_text()


async def test_a_redis_that_may_drop_keys_is_spoken_of(spawn, desk):
    await desk.redis.config_set("maxmemory-policy", "volatile-lru")
    try:
        worker = spawn()
        await desk.until(lambda: any("noeviction" in line.get("finding", "") for line in worker.log()))
    finally:
        await desk.redis.config_set("maxmemory-policy", "noeviction")
