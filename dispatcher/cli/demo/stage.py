"""The processes of the demo: a private Redis, the emulator, one worker. All are ended with it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from dispatcher.cli.demo.traffic import BUSY_TOKEN, BUSY_TOPIC, GONE, PROJECT, RETRY_AFTER_S
from dispatcher.emulator.faults import Limit, Rule, Scenario
from dispatcher.emulator.server import Ready
from dispatcher.errors import DispatcherError
from dispatcher.queue.embedded import EmbeddedRedis

START_S = 20.0
STOP_S = 15.0

SCENARIO = Scenario(
    seed=41,
    rules=[
        Rule(name="unregistered tokens", prefix=GONE, error="UNREGISTERED"),
        Rule(name="brownout", error="UNAVAILABLE", rate=0.01),
    ],
    limits=[
        Limit(kind="token", target=BUSY_TOKEN, per_second=5, burst=5, retry_after=RETRY_AFTER_S),
        Limit(kind="topic", target=BUSY_TOPIC, per_second=2, burst=2, retry_after=RETRY_AFTER_S),
    ],
    # The demo shows how fast the service is, so the project's quota is out of the way.
    quota_per_minute=None,
)
"""A realistic mix: dead tokens, a service that stumbles, one token and one topic over their rate."""


class Stage:
    """Starts everything on entering, stops everything on leaving.

    Attributes:
        redis_url: of the private Redis.
        emulator_url: base of the emulator's endpoints.
        worker_log: file with the worker's log lines.
    """

    def __init__(self) -> None:
        self.redis_url = ""
        self.emulator_url = ""
        self.worker_log = Path()
        self._stack = AsyncExitStack()
        self._worker: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fcm-demo-")))
            self.redis_url = stack.enter_context(EmbeddedRedis()).url
            keys = folder / "keys"
            scenario = folder / "scenario.json"
            scenario.write_bytes(msgspec.json.encode(SCENARIO))
            self.worker_log = folder / "worker.log"
            emulator = await self._start(
                stack,
                [
                    "emulator",
                    "--port",
                    "0",
                    "--write-credentials",
                    str(keys),
                    "--projects",
                    PROJECT,
                    "--faults",
                    str(scenario),
                ],
                {},
                folder / "emulator.log",
            )
            self.emulator_url = await _ready_url(emulator, folder / "emulator.log")
            self._worker = await self._start(
                stack,
                ["worker"],
                {
                    "DISPATCHER_REDIS_URL": self.redis_url,
                    "DISPATCHER_CREDENTIALS": str(keys),
                    "DISPATCHER_FCM_ENDPOINT": self.emulator_url,
                    "DISPATCHER_QUOTA_PER_MINUTE": "6000000",
                    "DISPATCHER_HTTP_PORT": "0",
                    "DISPATCHER_LOG_FORMAT": "json",
                },
                self.worker_log,
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def check(self) -> None:
        """See that the worker is still there.

        Raises:
            DispatcherError: it has ended; the message has its last words.
        """
        if self._worker is not None and self._worker.returncode is not None:
            raise DispatcherError(f"the worker ended on its own: {_last_line(self.worker_log)}")

    async def _start(
        self, stack: AsyncExitStack, arguments: list[str], settings: dict[str, str], log: Path
    ) -> asyncio.subprocess.Process:
        """Run a command of this very installation; settings of the caller's own service are kept out."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "dispatcher",
                *arguments,
                env=inherited | settings,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        stack.push_async_callback(_stop, process)
        return process


async def _ready_url(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
        return msgspec.json.decode(line, type=Ready).url
    except (TimeoutError, msgspec.DecodeError):
        raise DispatcherError(f"the emulator did not start: {_last_line(log)}") from None


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
