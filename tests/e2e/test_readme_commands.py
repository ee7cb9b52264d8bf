"""Every command line that the README shows is run: the site of its first page, and each cell of its table of commands."""

import gzip
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import redis

from dispatcher.cli.app import app, run
from dispatcher.queue.embedded import find_servers

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = "demo-orchard-41"
PATIENCE_S = 60
ENDLESS = ("--watch", "--follow")
NAMES = {command.callback.__name__ for command in app.registered_commands} | {"dead"}


def table():
    """The command lines in the table of commands, without `dispatcher`."""
    rows = re.search(r"\| to \| say `dispatcher \.\.\.`.*?\n\n", README, re.DOTALL)[0].splitlines()[2:]
    spans = [span for row in rows if row for span in re.findall(r"`([^`]+)`", row)]
    return [span for span in spans if span.split()[0] in NAMES]


def in_sentences():
    """The command lines that begin with `dispatcher` in running text and in sh blocks, likewise."""
    spans = re.findall(r"`dispatcher ([^`\n]+)`", README)
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "bin/dispatcher " in line]
    return [span for span in spans if not span.startswith("...")] + [
        line.partition("bin/dispatcher ")[2] for line in lines
    ]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Site:
    """The three terminals of the README, with ports that are free."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.ports = {"6379": free_port(), "9099": free_port()}
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("DISPATCHER_")}
        self.env |= {"DISPATCHER_HTTP_PORT": "0", "PYTHONPATH": str(ROOT)}

    def begin(self):
        redis_block, emulator_block, worker_block = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:3]
        self.start(redis_block, "--port", str(self.ports["6379"]), "--save", "")
        emulator = self.start(emulator_block, "--port", str(self.ports["9099"]), stdout=subprocess.PIPE)
        assert json.loads(emulator.stdout.readline())["url"].endswith(f":{self.ports['9099']}")
        *exports, start = worker_block.splitlines()
        for line in exports:
            name, _, value = line.removeprefix("export ").partition("=")
            self.env[name] = value.replace("9099", str(self.ports["9099"]))
        self.env["DISPATCHER_REDIS_URL"] += f":{self.ports['6379']}"
        worker = self.start(start, stderr=subprocess.PIPE)
        assert any('"worker_starting"' in line for line in worker.stderr)

    def start(self, line, *more, **pipes):
        program, *arguments = shlex.split(line)
        assert program.startswith(".venv/bin/")
        command = {
            ".venv/bin/redis-server": [str(next(iter(find_servers())))],
            ".venv/bin/dispatcher": [sys.executable, "-m", "dispatcher"],
        }[program]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **pipes}
        process = subprocess.Popen(
            [*command, *arguments, *more], cwd=self.folder, env=self.env, text=True, **pipes
        )
        self.processes.append(process)
        return process

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("site"))
    try:
        made.begin()
        yield made
    finally:
        made.end()


@pytest.fixture
def typed(site, monkeypatch, capsys):
    """Types a command line into a shell of the site; returns its exit code and what it printed."""
    for name, value in site.env.items():
        if name.startswith("DISPATCHER_"):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("DISPATCHER_HTTP_PORT")
    monkeypatch.chdir(site.folder)

    def type_(line, *more):
        code = run([*shlex.split(line), *more])
        return code, *capsys.readouterr()

    return type_


@pytest.fixture
def entry(site, typed):
    """A dead letter: a job that no worker takes."""
    with redis.Redis.from_url(site.env["DISPATCHER_REDIS_URL"], protocol=2, decode_responses=True) as client:
        client.xadd(f"fcm:{{{PROJECT}}}:jobs:normal", {"message": "{"})
        ((_, entries),) = client.xread({f"fcm:{{{PROJECT}}}:dead": "0"}, block=PATIENCE_S * 1000)
    return entries[0][0]


def forget(site, token):
    """Let the emulator know of this token that its app is gone."""
    request = urllib.request.Request(
        f"{site.env['DISPATCHER_FCM_ENDPOINT']}/_emulator/tokens",
        method="PUT",
        data=json.dumps({"project": PROJECT, "tokens": {token: "unregistered"}}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def until_first_line(site, line):
    """The first line that a command shows which then goes on until it is interrupted, and its exit code."""
    process = site.start(f".venv/bin/dispatcher {line}", stdout=subprocess.PIPE)
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    return first, process.wait(timeout=PATIENCE_S)


def test_the_table_shows_every_command_for_those_who_use_it():
    assert {line.split()[0] for line in table()} == NAMES - {"worker", "emulator", "demo"}
    shown = {word for line in table() for word in line.split() if word.startswith("--")}
    assert shown >= {"--watch", "--follow", "--target", "--lane", "--campaign", "--dry-run", "--deliver-at"}


def test_check_says_that_the_site_of_the_readme_will_work(typed):
    code, out, err = typed("check")
    assert (code, err) == (0, "")
    assert "FAIL" not in out


def test_the_sentences(site, typed, monkeypatch):
    lines = in_sentences()
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line)
        # Started above, or only named.
        endless = words[0] in ("worker", "emulator", "demo") or len(words) == 1
        code, out, _ = typed(words[0], "--help") if endless else typed(line)
        assert code == 0, line
        if words[0] in ("send", "outcomes") and not endless:
            assert " accepted " in out, line


def test_the_table(site, typed, entry):
    assert typed(f"send --project {PROJECT} --token fQ7x... --title Hi --id order-9 --wait")[0] == 0
    (site.folder / "users.csv.gz").write_bytes(gzip.compress(b"user,token\n1,aa\n2,bb\n"))
    said = {}
    for line in table():
        words = [{"P": PROJECT, "ENTRY": entry}.get(word, word) for word in line.split()]
        if any(word in ENDLESS for word in words):
            continue
        asks = words[0] == "cancel" or words[:2] in (["dead", "replay"], ["dead", "purge"])
        code, out, err = typed(shlex.join(words), *(["--yes"] if asks and "--dry-run" not in words else []))
        assert (code, err) == (0, ""), line
        assert out, line
        said[line] = out
    assert "2 tokens enqueued in" in said[next(line for line in said if "users.csv.gz" in line)]
    assert "order-9[0]" in said["outcomes --project P --job order-9"]
    assert said["pause P"] != said["pause P --lane bulk"]
    assert said["status --target topic:news"] == f"{PROJECT}, topic news: not paused\n"
    assert "no longer cancelled" in said["cancel P --campaign spring --undo"]
    assert entry in said["dead show ENTRY"]


def test_what_goes_on_until_it_is_interrupted(site, typed):
    endless = [line for line in table() if any(word in ENDLESS for word in line.split())]
    assert len(endless) == 2
    forget(site, "gone")
    assert typed(f"send --project {PROJECT} --token gone --title Hi --wait")[0] == 1
    for line in endless:
        first, code = until_first_line(site, line.replace(" P ", f" {PROJECT} "))
        assert code == 130, line
        if "jsonl" in line:
            assert json.loads(first)["status"] == "invalid_token"
        else:
            assert first.split()[:3] == ["project", "high", "due"]


def test_the_lines_for_make_are_targets_of_it():
    make = shutil.which("make")
    if make is None and os.environ.get("CI") != "true":
        pytest.skip("no make")
    targets = set(re.findall(r"^    make ([\w-]+)", README, re.MULTILINE)) | set(
        re.findall(r"`make ([\w-]+)`", README)
    )
    assert targets
    for target in targets:
        asked = subprocess.run([make, "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert asked.returncode == 0, asked.stderr
