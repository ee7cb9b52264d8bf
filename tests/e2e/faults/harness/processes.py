"""The processes of a stage: each is started, killed, stopped and continued by its own pid, and by nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import redis.asyncio
from harness.certificates import Authority
from harness.proxy import Proxy
from harness.waiting import until

from dispatcher.queue.embedded import find_servers

ROOT = Path(__file__).parents[4]
END_S = 60.0


class Process:
    """A child process, whose JSON log lines on stderr are kept with the time at which they came."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.lines: list[tuple[float, dict[str, Any]]] = []
        self.words: list[str] = []
        self._command = command
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("DISPATCHER_")}
        # The installed package may be another checkout's: what is next to these tests is what is tested.
        self._environment = {**inherited, "PYTHONPATH": str(ROOT), **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Start it; returns its first line on stdout if it is one that says something, else ""."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environment, cwd=ROOT, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        self._listener = asyncio.create_task(self._listen())
        return ""

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def code(self) -> int | None:
        """How it ended."""
        return self._process.returncode if self._process else None

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def ended(self, within: float = END_S) -> int:
        """Wait for its end; returns its exit code."""
        assert self._process is not None
        async with asyncio.timeout(within):
            code = await self._process.wait()
            if self._listener is not None:
                await self._listener
        return code

    async def stop(self) -> int:
        """SIGTERM, and wait; killed if that takes too long."""
        if self.alive:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                return await self.ended()
            except TimeoutError:
                await self.kill()
                raise AssertionError(f"{self.name} did not end on SIGTERM: {self.last_words}") from None
        return await self.ended()

    @property
    def last_words(self) -> str:
        """For error messages."""
        return " | ".join([*self.words[-5:], *(str(line) for _, line in self.lines[-3:])])

    def said(self, event: str) -> list[tuple[float, dict[str, Any]]]:
        """Its log lines of one kind: (monotonic time, line)."""
        return [(at, line) for at, line in self.lines if line.get("event") == event]

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        while text := await self._process.stderr.readline():
            try:
                line = json.loads(text)
            except ValueError:
                self.words.append(text.decode(errors="replace").rstrip())
            else:
                self.lines.append((time.monotonic(), line))

    async def read_line(self, within: float = 20.0) -> str:
        """One line of its stdout."""
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(within):
            return (await self._process.stdout.readline()).decode()


class RedisServer(Process):
    """A redis-server on a unix socket and a port, with its folder kept between restarts."""

    def __init__(self, folder: Path, port: int = 0, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.path = folder / "redis.sock"
        self.port = port
        command = [str(find_servers()[0]), "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", str(self.path), "--unixsocketperm", "700", "--save", ""]
        command += ["--dir", str(folder), "--logfile", str(folder / "log"), *options]
        super().__init__("redis", command, {})
        self.client = redis.asyncio.Redis(
            unix_socket_path=str(self.path), protocol=2, decode_responses=True, socket_timeout=20
        )

    async def start(self) -> str:
        """Start it and wait until it answers; also after it was killed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        await super().start()
        await until(self._answers, what="redis answers")
        return ""

    async def _answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except redis.RedisError:
            return False

    async def kill(self) -> None:
        """SIGKILL; the client's connections are dropped too."""
        await super().kill()
        await self.client.connection_pool.disconnect()


class EmulatorServer(Process):
    """The emulator, seen through its admin API.

    Args:
        folder: for what it writes.
        projects: that have keys.
        tls: it speaks HTTP/2 and HTTP/1.1 over TLS; else HTTP/1.1 in clear.

    Attributes:
        scheme, port: where it serves HTTP.
        ca_file: the authority to trust, for XMPP too.
    """

    def __init__(self, folder: Path, projects: Sequence[str], *, tls: bool = False) -> None:
        self.keys = folder / "keys"
        command = [sys.executable, "-m", "dispatcher.emulator", "--projects", ",".join(projects)]
        command += ["--write-credentials", str(self.keys), "--xmpp-port", "0"]
        self.ca_file = ""
        if tls:
            authority = Authority(folder / "tls")
            certificate, key = authority.sign("emulator")
            command += ["--tls-cert", str(certificate), "--tls-key", str(key)]
            self.ca_file = str(authority.ca)
        super().__init__("emulator", command, {})
        self.scheme = "https" if tls else "http"
        self.port = self.xmpp_port = 0
        self._admin: httpx.AsyncClient | None = None

    async def start(self) -> str:
        """Start it and wait until it serves."""
        await super().start()
        ready = json.loads(await self.read_line())
        self.port, self.xmpp_port = (int(ready[name].rpartition(":")[2]) for name in ("url", "xmpp"))
        self.ca_file = self.ca_file or ready["ca_file"]
        trust = ssl.create_default_context(cafile=self.ca_file) if self.scheme == "https" else True
        self._admin = httpx.AsyncClient(
            base_url=f"{ready['url']}/_emulator/", trust_env=False, timeout=30, verify=trust
        )
        await self.script()
        return ""

    async def get(self, path: str, **query: Any) -> Any:
        """A question to the admin API."""
        assert self._admin is not None
        return (await self._admin.get(path, params=query)).raise_for_status().json()

    async def put(self, path: str, **body: Any) -> None:
        """A change through the admin API."""
        assert self._admin is not None
        answer = await self._admin.put(path, json=body)
        assert answer.status_code == 200, answer.text

    async def script(self, *rules: dict[str, Any], **scenario: Any) -> None:
        """From now on this goes wrong, and nothing else; no quota and no limit unless asked for."""
        limits = dict.fromkeys(("quota_per_minute", "device_per_minute", "subscriptions_per_s"))
        await self.put("faults", **limits | {"rules": list(rules)} | scenario)

    async def arrived(self) -> int:
        """Messages that have arrived."""
        return int((await self.get("summary"))["messages"])

    async def accepted(self) -> int:
        """Messages that were accepted."""
        return int((await self.get("summary"))["accepted"])

    async def spoke_only_http2(self) -> bool:
        """Whether every message came over HTTP/2; access tokens are asked for over HTTP/1.1."""
        found = await self.get("summary")
        return bool(found["http_versions"]["2"] == found["requests"]["v1"] >= found["messages"])

    async def rows(self) -> list[dict[str, Any]]:
        """Every message that arrived, in order."""
        return await self._pages("ledger")

    async def calls(self) -> list[dict[str, Any]]:
        """Every item that a management service was asked for, in order."""
        return await self._pages("calls")

    async def _pages(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = await self.get(path, after=after)
            found += [dict(zip(page["columns"], row, strict=True)) for row in page["rows"]]
            after = page["next"]
        return found

    async def close(self) -> None:
        """Stop it."""
        if self._admin is not None:
            await self._admin.aclose()
        await self.stop()


class WorkerProcess(Process):
    """A worker behind proxies of its own: what happens on them happens to it alone.

    Args:
        name: for people.
        redis_proxy, fcm, xmpp: the proxies.
        environment: its settings.
        program: what Python is to run.

    Attributes:
        redis, fcm, xmpp: the proxies.
        consumer: its name in the consumer groups.
        final: its metrics as last looked at.
        peak_rss: bytes, the most it ever had, as last looked at.
    """

    def __init__(
        self,
        name: str,
        redis_proxy: Proxy,
        fcm: Proxy,
        xmpp: Proxy,
        environment: Mapping[str, str],
        program: Sequence[str] = ("-m", "dispatcher"),
    ) -> None:
        super().__init__(name, [sys.executable, *program, "worker"], environment)
        self.redis = redis_proxy
        self.fcm = fcm
        self.xmpp = xmpp
        self.consumer = ""
        self.began = 0.0
        self.ended_at = 0.0
        self.killed = False
        self.final: dict[str, float] = {}
        self.peak_rss = 0
        self._port = 0
        self._web = httpx.AsyncClient(trust_env=False, timeout=10)

    async def start(self) -> str:
        """Start it; it need not have reached Redis when this returns."""
        await super().start()
        self.began = time.monotonic()
        _, line = (
            await until(lambda: self.said("worker_starting") or not self.alive or None, 40) or [(0, {})]
        )[0]
        assert line, f"{self.name} ended: {self.last_words}"
        self.consumer, self._port = line["consumer"], line["port"]
        return ""

    async def metrics(self) -> dict[str, float]:
        """All series by their text, as `dispatcher_messages_total{project="p",status="accepted",code=""}`."""
        text = (await self._web.get(f"http://127.0.0.1:{self._port}/metrics")).text
        self.final = {
            series: float(value)
            for line in text.splitlines()
            if not line.startswith("#")
            for series, _, value in [line.rpartition(" ")]
        }
        self.peak_rss = _peak_rss(self.pid)
        return self.final

    async def counted(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        return total(await self.metrics(), name, **labels)

    async def kill(self) -> None:
        """SIGKILL."""
        self.killed = True
        await super().kill()
        self.ended_at = time.monotonic()

    async def close(self) -> None:
        """Let go of the connection for metrics."""
        await self._web.aclose()


def _peak_rss(pid: int) -> int:
    """Bytes, the most that a process ever had; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    return (
        next(int(row.split()[1]) for row in status.read_text().splitlines() if row.startswith("VmHWM")) * 1024
    )


def total(series: Mapping[str, float], name: str, **labels: str) -> float:
    """The sum of `dispatcher_<name>` over all series that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        value
        for text, value in series.items()
        if text.partition("{")[0] == f"dispatcher_{name}" and all(pair in text for pair in wanted)
    )
