"""What the benchmarks of a worker share: a private Redis, servers with a fixed answer, and the worker as a process.

Nothing here is measured; whoever measures a worker reads its CPU clock, its metrics and its memory by these.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import redis
from nginx import Nginx
from server import ACCESS_TOKEN

HERE = Path(__file__).parent
GROUP = "dispatcher"
IDLE_S = 2.0
"""How long a worker is left alone after it is ready: its first round of every duty is over."""
NO_QUOTA = 1_000_000_000
"""Messages a minute, as good as no limit."""

_FILL = """
for number = ARGV[1], ARGV[2] do
  redis.call('XADD', KEYS[1], '*', ARGV[3], (string.gsub(ARGV[4], '@', string.format('%011d', number))))
end
"""

MESSAGE = (
    '{"token":"bench@:APA91b' + "x" * 118 + '",'
    '"notification":{"title":"New message","body":"Anna: see you at the harbour at eight?"},'
    '"data":{"chat":"4711","kind":"text"},"android":{"priority":"high"}}'
)
"""About 300 bytes, as a token message of a chat looks; `@` becomes its number."""


def stream(project: str, lane: str = "normal") -> str:
    """Key of a lane."""
    return f"fcm:{{{project}}}:jobs:{lane}"


def aside(project: str) -> str:
    """Where jobs are kept until the worker is idle: the same slot, no lane."""
    return f"fcm:{{{project}}}:aside"


def enqueue(client: redis.Redis, key: str, count: int, message: str = MESSAGE) -> None:
    """Fill a stream with `count` jobs; in the server, since a million of them by a client take half a minute."""
    fill = client.register_script(_FILL)
    for start in range(0, count, 5000):
        fill(keys=[key], args=[start, min(count, start + 5000) - 1, "message", message])


@contextmanager
def process(command: Sequence[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A child, ended by its id at the end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
    child = subprocess.Popen(
        command, env={**inherited, **environment}, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    )
    try:
        yield child
    finally:
        child.terminate()
        child.wait(60)


def first_number(child: subprocess.Popen[str]) -> int:
    """What a server prints when it listens: its port."""
    assert child.stdout is not None
    return int(child.stdout.readline())


@contextmanager
def server(latency_ms: float = 0.0) -> Iterator[str]:
    """The fixed-answer FCM without TLS; yields its URL."""
    with process([sys.executable, str(HERE / "server.py"), "0", str(latency_ms)]) as child:
        yield f"http://127.0.0.1:{first_number(child)}"


def connections(url: str) -> int:
    """Connections that `server` has accepted so far, this look left out."""
    with urllib.request.urlopen(f"{url}/counts", timeout=10) as answer:
        return int(answer.read()) - 1


@contextmanager
def delayed(port: int, latency_ms: float, free: int = -1) -> Iterator[int]:
    """A port from which answers of another come so much later; yields its number.

    Args:
        port: of the server.
        latency_ms: from there.
        free: once a client has sent more bytes than that; by default from the first on.
    """
    with process([sys.executable, str(HERE / "delay.py"), str(port), str(latency_ms), str(free)]) as child:
        yield first_number(child)


def cpu_s(pid: int) -> float:
    """User and system time of a process, all threads."""
    # Linux: the CPU clock of a process, in nanoseconds; /proc counts in hundredths of a second.
    return time.clock_gettime((~pid << 3) | 2)


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory of a process: now, and at its peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    return tuple(int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024 for name in ("VmRSS", "VmHWM"))


class Worker:
    """A running worker.

    Attributes:
        child: its process.
        pid: of the process.
    """

    def __init__(self, child: subprocess.Popen[str], port: int) -> None:
        self.child = child
        self.pid = child.pid
        self._port = port

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric's series, or of those with a label, given as `name="value"`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = (line for line in lines if re.match(rf"{name}[ {{]", line) and label in line)
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def ready(self) -> bool:
        """Whether it can do its work."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=10):
                return True
        except (OSError, urllib.error.URLError):  # not listening yet, or 503
            return False

    def until(self, condition: Callable[[], bool], limit_s: float = 600) -> None:
        """Look every 5 ms.

        Raises:
            SystemExit: the worker ended, or time did.
        """
        deadline = time.perf_counter() + limit_s
        while not condition():
            if self.child.poll() is not None:
                raise SystemExit(f"the worker ended with {self.child.returncode}")
            if time.perf_counter() > deadline:
                raise SystemExit(f"not done after {limit_s:g} s")
            time.sleep(0.005)


class Window(NamedTuple):
    """What was settled while it was measured.

    Attributes:
        jobs: settled.
        wall_s: from the moment the jobs were there.
        cpu_s: of the worker, meanwhile.
    """

    jobs: int
    wall_s: float
    cpu_s: float


def settle(running: Worker, client: redis.Redis, projects: Sequence[str], most: int | None = None) -> Window:
    """Put all jobs that lie aside before an idle worker in one step, and wait.

    Args:
        running: the worker.
        client: of its Redis.
        projects: whose jobs they are.
        most: wait for so many only; None: all of them.
    """

    def waiting(key: Callable[[str], str]) -> int:
        with client.pipeline(transaction=False) as pipe:
            for project in projects:
                pipe.xlen(key(project))
            return sum(pipe.execute())

    jobs = waiting(aside)
    left = max(0, jobs - most) if most else 0
    started, cpu = time.perf_counter(), cpu_s(running.pid)
    with client.pipeline(transaction=True) as pipe:
        for project in projects:
            pipe.rename(aside(project), stream(project))
        pipe.execute()
    running.until(lambda: waiting(stream) <= left)
    settled = jobs - waiting(stream)
    return Window(settled, time.perf_counter() - started, cpu_s(running.pid) - cpu)


@contextmanager
def worker(
    redis_url: str, endpoint: str | Nginx, wire: str, projects: Sequence[str], **settings: object
) -> Iterator[Worker]:
    """A worker, ready and idle.

    Args:
        redis_url: the private Redis.
        endpoint: FCM's URL; or nginx, for its certificate.
        wire: `batch`, `v1` (HTTP/1.1) or `v1-h2`.
        projects: to serve.
        settings: more of them, in lower case.
    """
    given: dict[str, object] = {
        "redis_url": redis_url,
        "projects": ",".join(projects),
        "fcm_endpoint": endpoint if isinstance(endpoint, str) else endpoint.url,
        "transport": wire.removesuffix("-h2"),
        "http_version": "2" if wire == "v1-h2" else "1.1",
        "quota_per_minute": NO_QUOTA,
        "http_port": free_port(),
        "log_level": "error",
    }
    if isinstance(endpoint, Nginx):
        given["ca_file"] = endpoint.ca_file
    given |= settings
    with NamedTemporaryFile("w", suffix=".token") as token:
        token.write(ACCESS_TOKEN)
        token.flush()
        given.setdefault("credentials", f"token-file:{token.name}")
        environment = {f"DISPATCHER_{name.upper()}": str(value) for name, value in given.items()}
        with process([sys.executable, "-m", "dispatcher", "worker"], **environment) as child:
            running = Worker(child, int(str(given["http_port"])))
            running.until(running.ready)
            time.sleep(IDLE_S)
            yield running


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
