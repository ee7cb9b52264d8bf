"""The whole way: a real Redis server, the emulator as a process, and workers in this process or in their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio

from dispatcher.queue.embedded import EmbeddedRedis
from dispatcher.settings import Settings
from dispatcher.worker import Worker

ROOT = Path(__file__).parents[3]
PROJECT = "demo-orchard-41"
OTHERS = ("second-42", "third-43")
"""The emulator has keys for these, too."""


async def until(condition: Callable[[], Any], within: float = 15.0) -> Any:
    """Look again and again until the condition, plain or awaitable, holds; its value."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within:g} s: {condition}"
        await asyncio.sleep(0.01)


class Emulator:
    """The emulator's process, seen through its admin API."""

    def __init__(self, process: subprocess.Popen[str], verify: ssl.SSLContext | bool = True) -> None:
        self.process = process
        ready = json.loads(process.stdout.readline())
        self.url = ready["url"]
        self.credentials = ready["credentials"]
        self.xmpp, self.ca_file = ready.get("xmpp", ""), ready.get("ca_file", "")
        self._admin = httpx.Client(base_url=f"{self.url}/_emulator/", verify=verify, trust_env=False)

    def get(self, path: str, **query: object) -> Any:
        return self._admin.get(path, params=query).raise_for_status().json()

    def put(self, path: str, **body: object) -> Any:
        answer = self._admin.put(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def script(self, *rules: dict[str, object], **scenario: object) -> None:
        """From now on this goes wrong."""
        self.put("faults", rules=list(rules), **{"device_per_minute": None, **scenario})

    def arrivals(self, **only: object) -> list[dict[str, Any]]:
        """Messages in order of arrival."""
        rows: list[dict[str, Any]] = []
        after = 0
        while True:
            page = self.get("ledger", after=after, **only)
            rows += [dict(zip(page["columns"], row, strict=True)) for row in page["rows"]]
            if not page["rows"] or page["next"] is None or page["next"] == after:
                return rows
            after = page["next"]

    def counts(self, by: str = "target", **only: object) -> dict[str, int]:
        found = self.get("counts", by=by, **only)
        return found.get("counts", found)

    def reset(self) -> None:
        self._admin.post("reset").raise_for_status()
        self.put("oauth", refuse="", expires_in=3600)
        self.script()

    def close(self) -> None:
        self._admin.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=10)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def _emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    command = [sys.executable, "-m", "dispatcher.emulator", "--projects", ",".join((PROJECT, *OTHERS))]
    command += ["--xmpp-port", "0"]
    command += ["--write-credentials", str(tmp_path_factory.mktemp("keys"))]
    emulator = Emulator(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
    yield emulator
    emulator.close()


@pytest.fixture
def emulator(_emulator: Emulator) -> Emulator:
    """Fresh: everything is accepted, nothing has arrived."""
    _emulator.reset()
    return _emulator


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedRedis]:
    """The best Redis server there is; both kinds see the queue's own tests and the smallest job."""
    with EmbeddedRedis() as running:
        yield running


class Desk:
    """What producers and operators see of one project."""

    def __init__(self, client: redis.asyncio.Redis, project: str = PROJECT) -> None:
        self.redis = client
        self.project = project

    until = staticmethod(until)

    def key(self, name: str) -> str:
        return f"fcm:{{{self.project}}}:{name}"

    async def add(self, lane: str = "normal", message: object = None, **fields: object) -> str:
        """One job; `message` as JSON text or an object."""
        if message is not None:
            fields["message"] = message if isinstance(message, str | bytes) else json.dumps(message)
        texts = {name: value if isinstance(value, bytes) else str(value) for name, value in fields.items()}
        return (await self.redis.xadd(self.key(f"jobs:{lane}"), texts)).decode()

    async def add_many(self, lane: str, messages: list[dict[str, object]], **fields: str) -> None:
        pipe = self.redis.pipeline(transaction=False)
        for message in messages:
            pipe.xadd(self.key(f"jobs:{lane}"), {"message": json.dumps(message), **fields})
        await pipe.execute()

    async def recorded(self) -> list[dict[str, Any]]:
        """All outcomes so far."""
        entries = await self.redis.xrange(self.key("outcomes"))
        return [outcome for _, fields in entries for outcome in json.loads(fields[b"outcomes"])]

    async def outcomes(self, count: int = 1, within: float = 15.0) -> list[dict[str, Any]]:
        """Wait for this many, and see that there are no more and nothing is left behind."""
        await until(lambda: self._have(count), within)
        found = await self.recorded()
        assert len(found) == count, found
        return found

    async def _have(self, count: int) -> bool:
        return len(await self.recorded()) >= count

    async def dead(self) -> list[dict[str, str]]:
        entries = await self.redis.xrange(self.key("dead"))
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]

    async def delayed(self) -> list[tuple[float, dict[str, str]]]:
        """Jobs that wait: due time in seconds and fields, soonest first."""
        members = await self.redis.zrange(self.key("delayed"), 0, -1, withscores=True)
        waiting = []
        for member, score in members:
            fields = await self.redis.hget(self.key("delayed:jobs"), member)
            if fields is not None:
                flat = json.loads(fields.removeprefix(b"S"))
                waiting.append((score / 1000, dict(zip(flat[::2], flat[1::2], strict=True))))
        return waiting

    async def now(self) -> float:
        seconds, micros = await self.redis.time()
        return seconds + micros / 1e6

    async def control(self) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in (await self.redis.hgetall(self.key("control"))).items()}

    async def pending(self) -> int:
        """Entries that workers hold."""
        counts = []
        for stream in ("high", "due", "normal", "bulk"):
            key = self.key(f"jobs:{stream}")
            if await self.redis.exists(key):
                counts.append((await self.redis.xpending(key, "dispatcher"))["pending"])
        return sum(counts)

    async def backlog(self) -> int:
        """All that is not settled; looked at in one moment, for a job may be on its way from one to the other."""
        async with self.redis.pipeline(transaction=True) as pipe:
            for stream in ("high", "due", "normal", "bulk"):
                pipe.xlen(self.key(f"jobs:{stream}"))
            pipe.zcard(self.key("delayed"))
            return sum(await pipe.execute())


@pytest.fixture
async def desk(server: EmbeddedRedis) -> AsyncIterator[Desk]:
    client = redis.asyncio.Redis.from_url(server.url, protocol=2)
    await client.flushall()
    yield Desk(client)
    await client.aclose()


def environment(redis_url: str, emulator: Emulator, **settings: object) -> dict[str, str]:
    """DISPATCHER_* for a worker between the two."""
    given = {
        "redis_url": redis_url,
        "credentials": emulator.credentials[PROJECT],
        "fcm_endpoint": emulator.url,
        "transport": "batch",
        "linger_ms": 5,
        "http_port": 0,
        "log_format": "json",
        **settings,
    }
    return {f"DISPATCHER_{name.upper()}": str(value) for name, value in given.items() if value is not None}


class Face:
    """A worker's HTTP server."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def get(self, path: str) -> httpx.Response:
        await until(lambda: self._worker.port)
        return await fetch(self._worker.port, path)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name with these labels."""
        return read_metric((await self.get("/metrics")).text, name, **labels)


async def fetch(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


def read_metric(text: str, name: str, **labels: str) -> float:
    """The sum of all samples of this name with these labels."""
    total = 0.0
    for line in text.splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.partition("{")[0] == f"dispatcher_{name}" and all(
            f'{label}="{wanted}"' in sample for label, wanted in labels.items()
        ):
            total += float(value)
    return total


Serve = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def serve(server: EmbeddedRedis, emulator: Emulator, desk: Desk) -> AsyncIterator[Serve]:
    """Starts workers in this process: `await serve(transport="v1")`; they drain at the end of the test."""
    running: list[tuple[Worker, asyncio.Task[None]]] = []

    async def start(*, config: Path | None = None, rescan_s: float = 30.0, **settings: object) -> Worker:
        url = str(settings.pop("redis_url", server.url))
        given = Settings.load(config, environment(url, emulator, **settings))
        worker = Worker(given, rescan_s=rescan_s)
        running.append((worker, asyncio.create_task(worker.run())))
        worker.face = Face(worker)
        return worker

    yield start
    for worker, _ in running:
        worker.stop()
    for _, task in running:
        async with asyncio.timeout(15):
            await task


class WorkerProcess:
    """`python -m dispatcher worker`, and what it says."""

    def __init__(self, env: dict[str, str], log: Path, command: list[str]) -> None:
        self.log_file = self._log = log
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                stdout=sink,
                stderr=sink,
                cwd=ROOT,
                env={**{k: v for k, v in os.environ.items() if not k.startswith("DISPATCHER_")}, **env},
            )

    def log(self) -> list[dict[str, Any]]:
        """Log lines so far."""
        lines = self._log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def said(self, event: str) -> dict[str, Any] | None:
        return next((line for line in self.log() if line["event"] == event), None)

    async def get(self, path: str) -> httpx.Response:
        """From its HTTP server."""
        return await fetch(int((await until(lambda: self.said("worker_starting")))["port"]), path)

    async def stopped(self, within: float = 30.0) -> int:
        await until(lambda: self.process.poll() is not None, within)
        return self.process.returncode

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


Spawn = Callable[..., WorkerProcess]


@pytest.fixture
def spawn(server: EmbeddedRedis, emulator: Emulator, tmp_path: Path) -> Iterator[Spawn]:
    """Starts workers as processes: `spawn(lease_s=1)`."""
    running: list[WorkerProcess] = []

    def start(
        *arguments: str, program: tuple[str, ...] = ("-m", "dispatcher"), **settings: object
    ) -> WorkerProcess:
        env = environment(str(settings.pop("redis_url", server.url)), emulator, **settings)
        command = [*program, "worker", *arguments]
        running.append(WorkerProcess(env, tmp_path / f"worker-{len(running)}.log", command))
        return running[-1]

    yield start
    for worker in running:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.wait()
