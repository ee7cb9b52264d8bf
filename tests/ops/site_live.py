"""A live site: Redis, the emulator, three workers, the demo's producer, trouble of every kind, and a real Prometheus."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import redis
import yaml
from paths import ALERTS, DEPLOY, RECORDING, ROOT, program
from rendering import NAMESPACE, RELEASE

from dispatcher.queue.embedded import EmbeddedRedis

GOOD = ("demo-orchard", "demo-meadow")
ROUGH = "demo-rough"
SLOW = "demo-slow"
BROKEN = "demo-broken"
LOST = "demo-lost"
SERVED = (*GOOD, ROUGH, SLOW, BROKEN)

SLOW_BACKLOG = 400
WORKERS = 3
SCRAPE_S = 1
PATIENCE_S = 300
"""Nothing waits for so long: it is the end of hope on a machine that does six other things."""

SCENARIO = {
    "seed": 7,
    "device_per_minute": None,
    "rules": [
        {"name": "lost answers", "per": "request", "wire": "batch", "cut": "after", "rate": 0.02},
        {"name": "unregistered", "prefix": "gone", "error": "UNREGISTERED"},
        {"name": "platform", "prefix": "apple", "error": "THIRD_PARTY_AUTH_ERROR"},
        {"name": "rough", "project": ROUGH, "error": "UNAVAILABLE", "rate": 0.7},
        {"name": "broken", "project": BROKEN, "status": 403},
    ],
    "limits": [{"kind": "token", "target": "busy-device", "per_second": 0.2, "burst": 1, "retry_after": 20}],
}

CONFIG = f"""
[projects."{SLOW}"]
quota_per_minute = 60

[projects."{GOOD[1]}"]
transport = "v1"
tls_verify = false
"""

SETTINGS = {
    "LEASE_S": "1",
    "LINGER_MS": "2",
    "LOG_FORMAT": "json",
    "HTTP_PORT": "0",
    "OUTCOMES_MAX_ENTRIES": "100",
    "REQUEST_TIMEOUT_S": "5",
}

Answer = TypeVar("Answer")


def wait_for(what: str, look: Callable[[], Answer], within: float = PATIENCE_S) -> Answer:
    """Ask until the answer is true."""
    deadline = time.monotonic() + within
    while not (answer := look()):
        assert time.monotonic() < deadline, f"{what}: not within {within} s"
        time.sleep(0.2)
    return answer


class Site:
    """All its processes."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        server = stack.enter_context(EmbeddedRedis())
        self.url = server.url
        self.redis = stack.enter_context(redis.Redis.from_url(server.url, protocol=2, decode_responses=True))
        self.redis.config_set("maxmemory", 10**9)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
        self.env |= {f"DISPATCHER_{name}": value for name, value in SETTINGS.items()}
        self.env["DISPATCHER_REDIS_URL"] = self.url
        self._start_emulator()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.ports: list[int] = []
        for number in range(WORKERS):
            self._start_worker(number)
        self._start_prometheus()

    def start(self, name: str, *command: object, **options: Any) -> subprocess.Popen[bytes]:
        """Start a process that ends with the site; its standard error goes to a file."""
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            list(map(str, command)), env=self.env, cwd=ROOT, stderr=log, **{"stdout": log, **options}
        )
        self._stack.callback(self._end, process)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            process.stdout.close()
        process.kill()
        process.wait()

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def _start_emulator(self) -> None:
        scenario = self._folder / "scenario.json"
        scenario.write_text(json.dumps(SCENARIO))
        keys = self._folder / "keys"
        command = (sys.executable, "-m", "dispatcher.emulator", "--projects", ",".join(SERVED))
        emulator = self.start(
            "emulator", *command, "--write-credentials", keys, "--faults", scenario, stdout=subprocess.PIPE
        )
        assert emulator.stdout is not None
        self.env["DISPATCHER_FCM_ENDPOINT"] = json.loads(emulator.stdout.readline())["url"]
        self.env["DISPATCHER_CREDENTIALS"] = str(keys)

    def _start_worker(self, number: int) -> None:
        config = self._folder / "dispatcher.toml"
        config.write_text(CONFIG)
        name = f"worker-{number}"
        worker = self.start(name, sys.executable, "-m", "dispatcher", "worker", "--config", config)

        def port() -> int:
            assert worker.poll() is None, self.log(name)
            for line in self.log(name).splitlines():
                if '"worker_starting"' in line and line.endswith("}"):
                    return int(json.loads(line)["port"])
            return 0

        self.workers.append(worker)
        self.ports.append(wait_for("a worker", port))

    def _start_prometheus(self) -> None:
        config = {
            "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": "2s"},
            "rule_files": [str(RECORDING), str(ALERTS)],
            "scrape_configs": [
                {
                    "job_name": RELEASE,
                    "static_configs": [
                        {
                            "targets": [f"127.0.0.1:{port}"],
                            "labels": {"namespace": NAMESPACE, "pod": f"{RELEASE}-{n}"},
                        }
                        for n, port in enumerate(self.ports)
                    ],
                }
            ],
        }
        file = self._folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._prometheus = f"http://127.0.0.1:{port}"
        self.start(
            "prometheus",
            program("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={self._folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        )
        wait_for("Prometheus", self._prometheus_ready)

    def _prometheus_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._prometheus}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """Prometheus' answer."""
        url = f"{self._prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def series(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float:
        """The value of a query with one series."""
        (one,) = self.series(expression)
        return float(one["value"][1])

    def scrape(self, number: int = 0) -> str:
        """One worker's metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[number]}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def add(self, project: str, lane: str = "normal", **fields: str) -> str:
        return self.redis.xadd(f"fcm:{{{project}}}:jobs:{lane}", fields)

    def produce(self) -> None:
        """The demo's own producer."""
        script = DEPLOY / "demo" / "producer.py"
        projects = [part for project in (GOOD[0], GOOD[1]) for part in ("--project", project)]
        self.start("producer", sys.executable, script, *projects, "--rate", "300")

    def trouble(self) -> None:
        """Something for each metric to count."""

        def message(token: str) -> str:
            return json.dumps({"token": token, "notification": {"title": "Hi"}})

        for n in range(SLOW_BACKLOG + 60):
            self.add(SLOW, "bulk", message=message(f"slow{n:08d}"))
        for n in range(400):
            self.add(ROUGH, message=message(f"rough{n:08d}"))
        for n in range(20):
            self.add(BROKEN, message=message(f"broken{n:08d}"))
            self.add(GOOD[0], message=message(f"apple{n:08d}"))
            self.add(GOOD[0], message=message("busy-device"))
            self.add(GOOD[0], message=message(f"odd{n:08d}"), colour="green")
            self.add(GOOD[0], message="this is no message")
            self.add(GOOD[0], message='{"topic":"large","data":{"text":"' + "x" * 3000 + '"}}')
        for _ in range(2 * int(SETTINGS["OUTCOMES_MAX_ENTRIES"])):  # nobody reads them, and they are too many
            self.redis.xadd(f"fcm:{{{ROUGH}}}:outcomes", {"outcomes": "[]"})
        self.redis.hset(f"fcm:{{{ROUGH}}}:control", "stop:lane:high", "0:lane high")
        self.add(LOST, message=message("nobody"))
        self.add(GOOD[0], "nromal", message=message("nobody"))

    def stall(self) -> None:
        """One worker stands still for longer than its lease: its jobs are taken over, and it comes back too late."""
        worker = self.workers[0]
        worker.send_signal(signal.SIGSTOP)
        time.sleep(4)  # the length of the stall is the fault, not a wait for something
        worker.send_signal(signal.SIGCONT)

    def hang_up(self) -> None:
        """Redis drops every connection of the workers."""
        self.redis.client_kill_filter(_type="normal", skipme=True)
