"""A stage: one Redis, one emulator, any number of workers behind proxies, and what the outside knows of them.

The stage is the caller of every fault, so it knows when each happened; before a fault that may cause duplicates
it writes down (`note`) what the worker had sent by then and not yet settled. That is the bound which the ledger
holds duplicates against.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
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
from harness.jobs import PROJECT, Asked, Message, messages_of
from harness.notes import Cut, Death
from harness.processes import EmulatorServer, Process, RedisServer, WorkerProcess
from harness.producing import Producing
from harness.proxy import Break, Fault, Proxy
from harness.stalls import Stalls
from harness.waiting import until

from dispatcher.emulator.credentials import number_of, server_key_file_of
from dispatcher.queue.keys import Keys
from dispatcher.queue.script import Script

LEASE_S = 15.0
"""The product's own: nobody loses a lease because this machine is busy."""

STREAMS = ("high", "due", "normal", "bulk")
BLOCKABLE = Path(__file__).parent / "blockable.py"
SCRIPTS = (
    "settle", "grant", "promote", "reclaim", "acquire", "adopt", "release", "leave", "record_upstream",
)  # fmt: skip


@dataclass
class Stage(Producing):
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
        tls: the emulator speaks TLS, and HTTP/2 with it: what the wire `v1-h2` needs.
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
    tls: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.keys = Keys()
        self.redis = RedisServer(self.folder / "redis", self.redis_port, self.redis_options)
        self.emulator = EmulatorServer(self.folder, self.projects, tls=self.tls)
        self.workers: list[WorkerProcess] = []
        self.asked: dict[Message, Asked] = {}
        self.cuts: list[Cut] = []
        self.deaths: list[Death] = []
        # Reclaims that no log tells of, because their worker died of them.
        self.reclaims: list[float] = []
        self.faults = 0
        self.stalls = Stalls(self._pids)
        self._numbers = itertools.count(1)
        self._still = asyncio.Lock()
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

    async def worker(
        self,
        *,
        ready: bool = True,
        gate: Gate | None = None,
        arm: Callable[[WorkerProcess], object] | None = None,
        **settings: Any,
    ) -> WorkerProcess:
        """Start one more worker, behind proxies of its own; by default wait until it holds its leases.

        Args:
            ready: wait for that.
            gate: its event loop can be made to stand still there.
            arm: called with it before it starts: what it puts on the proxies meets the first request.
            settings: of this worker; the transport `v1-h2` is `v1` over nothing but HTTP/2.
        """
        redis_proxy, fcm, xmpp = [
            await self._stack.enter_async_context(Proxy(upstream))
            for upstream in (
                self.redis_upstream or self.redis.path,
                ("127.0.0.1", self.emulator.port),
                ("127.0.0.1", self.emulator.xmpp_port),
            )
        ]
        values = {
            "redis_url": self.redis_url.format(port=redis_proxy.port),
            "fcm_endpoint": f"{self.emulator.scheme}://127.0.0.1:{fcm.port}",
            "ca_file": self.emulator.ca_file,
            "credentials": self.emulator.keys,
            "transport": "batch",
            "lease_s": self.lease_s,
            "drain_s": 30,
            "quota_per_minute": 6_000_000,
            "http_port": 0,
            "log_format": "json",
            **self._for_older_wires(xmpp),
            **self.settings,
            **settings,
        }
        if values["transport"] == "v1-h2":
            values |= {"transport": "v1", "http_version": "2"}
        environment = {f"DISPATCHER_{name.upper()}": str(value) for name, value in values.items()}
        program: Sequence[str] = ("-m", "dispatcher")
        if gate is not None:
            environment["LOOP_GATE"] = str(gate.path)
            program = [str(BLOCKABLE)]
        name = f"worker {len(self.workers) + 1}"
        worker = WorkerProcess(name, redis_proxy, fcm, xmpp, environment, program)
        self.workers.append(worker)
        self._stack.push_async_callback(worker.close)
        self._stack.push_async_callback(_end, worker)
        if arm is not None:
            arm(worker)
        await worker.start()
        if ready:
            await until(lambda: self.leased(worker), what=f"{worker.name} holds its leases")
            worker.began = time.monotonic()
        return worker

    def _for_older_wires(self, xmpp: Proxy) -> dict[str, Any]:
        """What XMPP, legacy HTTP and device groups want to know of a project, where there is but one."""
        if len(self.projects) > 1:
            return {}
        (project,) = self.projects
        return {
            "sender_id": number_of(project),
            "legacy_key_file": server_key_file_of(self.emulator.keys, project),
            "xmpp_endpoint": f"127.0.0.1:{xmpp.port}",
        }

    async def run(self, command: str, **settings: Any) -> tuple[int, str]:
        """A command that ends by itself: (exit code, the one line that it said to people)."""
        values = {
            "redis_url": f"unix://{self.redis.path}",
            "credentials": self.emulator.keys,
            "fcm_endpoint": f"{self.emulator.scheme}://127.0.0.1:{self.emulator.port}",
            "ca_file": self.emulator.ca_file,
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

        So nothing is read and sent between the note and the fault, which would be on no note. One at a time: the end
        of the first must not wake up whom the second has stopped.
        """
        async with self._still:
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

    def break_somewhere(self, worker: WorkerProcess, proxy: Proxy, most: int) -> Break:
        """Some connection of this worker breaks off after so many bytes at most, as chance has it."""
        around = functools.partial(self.held_still, "connection broken of", worker)
        after, dice = self.random.randrange(most), self.random
        place = Break(after, dice.choice(["up", "down"]), dice.choice(["close", "reset"]), around=around)
        return proxy.break_off(place)

    def half_open_somewhere(self, worker: WorkerProcess, proxy: Proxy, most: int) -> Break:
        """Some connection of this worker brings no more answers after so many bytes at most, and stays open."""
        around = functools.partial(self.held_still, "half-open connection of", worker)
        return proxy.break_off(Break(self.random.randrange(most), "down", "silence", around=around))

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

        try:
            await until(nothing, within, "everything is settled")
        except AssertionError as error:
            left = [await self._left(project) for project in projects or self.projects]
            raise AssertionError(f"{error}; left: {left}") from None

    async def _left(self, project: str) -> dict[str, object]:
        """What waits, where, and for what: for the report of a failure."""
        client = self.redis.client
        streams = {name: await client.xlen(self.keys.stream(project, name)) for name in STREAMS}  # type: ignore[arg-type]
        delayed = await client.zrange(self.keys.delayed(project), 0, 4, withscores=True)
        jobs = [await client.hget(self.keys.delayed_jobs(project), member) for member, _ in delayed]
        pending = {
            name: await client.xpending_range(self.keys.stream(project, name), "dispatcher", "-", "+", 5)  # type: ignore[arg-type]
            for name, length in streams.items()
            if length
        }
        control = await client.hgetall(self.keys.control(project))
        return {"streams": streams, "delayed": delayed, "jobs": jobs, "pending": pending, "control": control}


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _end(process: Any) -> None:
    """However it stands, it ends now: what a test has to say about ends, it has said."""
    if isinstance(process, EmulatorServer):
        await process.close()
    elif process.alive:
        await process.kill()
