"""A stage: one Redis, one emulator, any number of workers behind proxies, and what the outside knows of them.

The stage is the caller of every fault, so it knows when each happened; before a fault that may cause duplicates
it writes down (`note`) what the worker had sent by then and not yet settled. That is the bound which the ledger
holds duplicates against.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import redis.exceptions
from harness.gate import Gate
from harness.jobs import Asked, Message, job, messages_of
from harness.notes import Cut, Death
from harness.processes import EmulatorServer, Process, RedisServer, WorkerProcess
from harness.proxy import Fault, Proxy
from harness.stalls import Stalls
from harness.waiting import until

from dispatcher.queue.keys import Keys
from dispatcher.queue.script import Script

PROJECT = "demo-orchard-41"
LEASE_S = 15.0
"""The product's own: nobody loses a lease because this machine is busy."""

STREAMS = ("high", "due", "normal", "bulk")
BLOCKABLE = Path(__file__).parent / "blockable.py"
SCRIPTS = ("settle", "grant", "promote", "reclaim", "acquire", "adopt", "release", "leave")


@dataclass
class Stage:
    """Starts everything on entering, ends everything on leaving.

    Args:
        folder: of its own.
        seed: of every choice that is left to chance.
        projects: with credentials.
        redis_options: further options of the server.
        redis_port: where it listens beside its unix socket; 0: nowhere.
        lease_s: of every worker.
        settings: of every worker, `DISPATCHER_` left out.
        redis_url: what a worker is given, `{port}` being its proxy's.
        redis_upstream: (host, port) behind that proxy; None: the server's unix socket.
    """

    folder: Path
    seed: int
    projects: Sequence[str] = (PROJECT,)
    redis_options: Sequence[str] = ()
    redis_port: int = 0
    lease_s: float = LEASE_S
    settings: dict[str, Any] = field(default_factory=dict)
    redis_url: str = "redis://127.0.0.1:{port}"
    redis_upstream: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.keys = Keys()
        self.redis = RedisServer(self.folder / "redis", self.redis_port, self.redis_options)
        self.emulator = EmulatorServer(self.folder, self.projects)
        self.workers: list[WorkerProcess] = []
        self.asked: dict[Message, Asked] = {}
        self.cuts: list[Cut] = []
        self.deaths: list[Death] = []
        # Reclaims that no log tells of, because their worker died of them.
        self.reclaims: list[float] = []
        self.faults = 0
        self.stalls = Stalls(self._pids)
        self._numbers = itertools.count(1)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.redis.client.aclose)
            for process in (self.redis, self.emulator):
                stack.push_async_callback(_end, process)
                await process.start()
            await self.load_scripts()
            watching = asyncio.create_task(self.stalls.run())
            stack.push_async_callback(_cancel, watching)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def _pids(self) -> list[int]:
        return [p.pid for p in (self.redis, self.emulator, *self.workers) if p.alive]

    def stalled(self, start: float, end: float) -> float:
        """Seconds that this machine lost between two Unix times."""
        offset = time.time() - time.monotonic()
        return self.stalls.between(start - offset, end - offset)

    async def load_scripts(self) -> None:
        """So that a call of a script is known by its hash from the first one on."""
        for name in SCRIPTS:
            await self.redis.client.script_load(Script(name).source)

    # Workers

    async def worker(self, *, ready: bool = True, gate: Gate | None = None, **settings: Any) -> WorkerProcess:
        """Start one more worker, behind two proxies of its own; by default wait until it holds its leases.

        Args:
            ready: wait for that.
            gate: its event loop can be made to stand still there.
            settings: of this worker.
        """
        redis_proxy = await self._stack.enter_async_context(Proxy(self.redis_upstream or self.redis.path))
        fcm = await self._stack.enter_async_context(Proxy(("127.0.0.1", self.emulator.port)))
        values = {
            "redis_url": self.redis_url.format(port=redis_proxy.port),
            "fcm_endpoint": f"http://127.0.0.1:{fcm.port}",
            "credentials": self.emulator.keys,
            "transport": "batch",
            "lease_s": self.lease_s,
            "drain_s": 30,
            "quota_per_minute": 6_000_000,
            "http_port": 0,
            "log_format": "json",
            **self.settings,
            **settings,
        }
        environment = {f"DISPATCHER_{name.upper()}": str(value) for name, value in values.items()}
        program: Sequence[str] = ("-m", "dispatcher")
        if gate is not None:
            environment["LOOP_GATE"] = str(gate.path)
            program = [str(BLOCKABLE)]
        worker = WorkerProcess(f"worker {len(self.workers) + 1}", redis_proxy, fcm, environment, program)
        self.workers.append(worker)
        self._stack.push_async_callback(worker.close)
        self._stack.push_async_callback(_end, worker)
        await worker.start()
        if ready:
            await until(lambda: self.leased(worker), what=f"{worker.name} holds its leases")
            worker.began = time.monotonic()
        return worker

    async def run(self, command: str, **settings: Any) -> tuple[int, str]:
        """A command that ends by itself: (exit code, the one line that it said to people)."""
        values = {
            "redis_url": f"unix://{self.redis.path}",
            "credentials": self.emulator.keys,
            "fcm_endpoint": f"http://127.0.0.1:{self.emulator.port}",
            "http_port": 0,
            "log_format": "json",
            **settings,
        }
        environment = {f"DISPATCHER_{name.upper()}": str(value) for name, value in values.items()}
        process = Process(command, [sys.executable, "-m", "dispatcher", command], environment)
        self._stack.push_async_callback(_end, process)
        await process.start()
        code = await process.ended()
        (word,) = process.words
        return code, word

    async def crew(self, count: int, **settings: Any) -> list[WorkerProcess]:
        """Start several at once."""
        return list(await asyncio.gather(*(self.worker(**settings) for _ in range(count))))

    async def leased(self, worker: WorkerProcess) -> bool:
        """Whether it holds its lease in every project."""
        names = [self.keys.lease(project, worker.consumer) for project in self.projects]
        return await self.redis.client.exists(*names) == len(names)

    @property
    def live(self) -> list[WorkerProcess]:
        """Workers that run."""
        return [worker for worker in self.workers if worker.alive]

    # Faults

    async def note(self, worker: WorkerProcess, what: str) -> Cut:
        """Write down what this worker has in its hands at this moment."""
        at, clock = time.time(), time.monotonic()
        unsettled: set[Message] = set()
        for project in self.projects:
            unsettled.update(await self.unsettled(project, worker.consumer))
        cut = Cut(f"{what} {worker.name}", worker, at, clock, frozenset(unsettled))
        self.cuts.append(cut)
        self.faults += 1
        return cut

    @contextlib.asynccontextmanager
    async def held_still(self, what: str, *workers: WorkerProcess) -> AsyncIterator[None]:
        """Stop workers for as long as it takes to note what they have and to let the fault happen, in the body.

        So nothing is read and sent between the note and the fault, which would be on no note.
        """
        for worker in workers:
            worker.signal(signal.SIGSTOP)
        try:
            for worker in workers:
                await self.note(worker, what)
            yield
        finally:
            for worker in workers:
                worker.signal(signal.SIGCONT)

    def noting(self, worker: WorkerProcess, what: str) -> Callable[[], Any]:
        """`note`, as something to do before a fault."""
        return lambda: self.note(worker, what)

    async def kill(self, worker: WorkerProcess) -> Cut:
        """kill -9."""
        await worker.kill()
        at = time.monotonic()
        cut = await self.note(worker, "kill")
        heirs = [heir for heir in self.live if heir.began + self.lease_s < at]
        self.deaths.append(Death(worker, at, len(cut.unsettled), len(heirs)))
        return cut

    def freeze(self, worker: WorkerProcess) -> None:
        """SIGSTOP."""
        self.faults += 1
        worker.signal(signal.SIGSTOP)

    def thaw(self, worker: WorkerProcess) -> None:
        """SIGCONT."""
        worker.signal(signal.SIGCONT)

    def script_fault(self, worker: WorkerProcess, script: str, **fault: Any) -> Fault:
        """Something that happens to this worker's next call of a script."""
        return worker.redis.inject(Fault(match=Script(script).sha.encode(), **fault))

    # The queue from outside

    async def unsettled(self, project: str, consumer: str) -> list[Message]:
        """Messages of the entries that are pending for a consumer."""
        client = self.redis.client
        found: list[Message] = []
        for stream in STREAMS:
            key = self.keys.stream(project, stream)  # type: ignore[arg-type]
            if not await client.exists(key):
                continue
            try:
                pending = await client.xpending_range(
                    key, "dispatcher", "-", "+", 20_000, consumername=consumer
                )
            except redis.exceptions.ResponseError:
                continue  # no group yet
            ids = [row["message_id"] for row in pending]
            async with client.pipeline(transaction=False) as pipe:
                for entry_id in ids:
                    pipe.xrange(key, entry_id, entry_id)
                for entries in await pipe.execute() if ids else []:
                    for _, fields in entries:
                        found += messages_of(fields)
        return found

    async def waiting(self, project: str = PROJECT) -> int:
        """Jobs that are not settled, wherever they stand.

        They move, so it is asked in one go; not in a transaction, which a full Redis refuses.
        """
        client = self.redis.client
        async with client.pipeline(transaction=False) as pipe:
            for stream in STREAMS:
                pipe.xlen(self.keys.stream(project, stream))  # type: ignore[arg-type]
            pipe.zcard(self.keys.delayed(project))
            return sum(await pipe.execute())

    async def pending(self, worker: WorkerProcess, project: str = PROJECT) -> int:
        """Entries that this worker has read and not settled."""
        return len(await self.unsettled(project, worker.consumer))

    async def settled(self, within: float = 60.0, projects: Iterable[str] = ()) -> None:
        """Wait until nothing waits any more."""

        async def nothing() -> bool:
            for project in projects or self.projects:
                if await self.waiting(project):
                    return False
            return True

        await until(nothing, within, "everything is settled")

    # The producer

    def new_name(self) -> str:
        """For a job that has to be known before it is enqueued."""
        return f"m{next(self._numbers)}"

    async def produce(
        self,
        count: int,
        *,
        project: str = PROJECT,
        lane: str = "normal",
        may: Iterable[str] = ("accepted",),
        tokens: int = 0,
        target: str = "",
        size: int = 0,
        client: Any = None,
        names: Sequence[str] = (),
        **fields: str,
    ) -> list[str]:
        """Enqueue jobs and write them into the producer's log; returns their ids (and the messages' own).

        Args:
            count: how many jobs.
            project, lane: where.
            may: the statuses that are right for these.
            tokens: 0: one token a job, a new one each; N: jobs for N tokens.
            target: one token for all of them instead.
            size: bytes of filling in each message.
            client: another way to Redis than the direct one.
            names: their ids, of `new_name`; or new ones.
            fields: further fields of each entry.

        Raises:
            redis.exceptions.RedisError: some were refused, or nobody knows; the log holds what it must.
        """
        key = self.keys.stream(project, lane)  # type: ignore[arg-type]
        names = [*names] or [self.new_name() for _ in range(count)]
        for start in range(0, count, 500):
            chunk = names[start : start + 500]
            async with (client or self.redis.client).pipeline(transaction=False) as pipe:
                for name in chunk:
                    pipe.xadd(key, job(name, tokens, target, size) | fields)
                try:
                    replies = await pipe.execute(raise_on_error=False)
                except (OSError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                    for name in chunk:
                        self.expect(job(name, tokens, target), may, project=project, unsure=True)
                    raise
            for name, reply in zip(chunk, replies, strict=True):
                if not isinstance(reply, Exception):
                    self.expect(job(name, tokens, target), may, project=project)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return names

    def expect(
        self,
        fields: dict[str, str],
        may: Iterable[str] = ("accepted",),
        *,
        entries: int = 1,
        project: str = PROJECT,
        unsure: bool = False,
    ) -> None:
        """Write a job into the producer's log that was enqueued, `entries` times."""
        for message in messages_of(fields):
            self.asked[message] = Asked(project, frozenset(may), entries, unsure)

    def expect_message(self, name: str, target: str, may: Iterable[str] = ("accepted",)) -> None:
        """Write one message into the producer's log, by its id and its target."""
        self.asked[name, target] = Asked(PROJECT, frozenset(may))


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _end(process: Any) -> None:
    """However it stands, it ends now: what a test has to say about ends, it has said."""
    if isinstance(process, EmulatorServer):
        await process.close()
    elif process.alive:
        await process.kill()
