"""Runs the emulator as operators do: a process of its own on a free loopback port."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest


class Running:
    """An emulator that serves, and its admin API."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, object], verify: str | bool) -> None:
        self.process = process
        self.url = ready["url"]
        self.credentials = ready.get("credentials", {})
        self._admin = httpx.Client(base_url=f"{self.url}/_emulator/", verify=verify, trust_env=False)

    def get(self, path: str, **query: object) -> dict[str, object]:
        return self._admin.get(path, params=query).raise_for_status().json()

    def put(self, path: str, body: object) -> dict[str, object]:
        return self._admin.put(path, json=body).raise_for_status().json()

    def close(self) -> None:
        self._admin.close()


@contextmanager
def running(folder: Path, *arguments: str, verify: str | bool = True) -> Iterator[Running]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "dispatcher.emulator",
            "--write-credentials",
            str(folder / "keys"),
            *arguments,
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    try:
        emulator = Running(process, json.loads(process.stdout.readline()), verify)
        try:
            yield emulator
        finally:
            emulator.close()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        process.stdout.close()
    assert process.returncode == 0


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(running(tmp_path, *arguments, **options))


@pytest.fixture
def emulator(start: Start, tmp_path: Path) -> Running:
    (tmp_path / "faults.json").write_text('{"auth": "any"}')
    return start("--faults", str(tmp_path / "faults.json"), "--projects", "demo")
