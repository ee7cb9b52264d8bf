"""After ten million messages the memory of Redis and of the worker is what it was after the first: `make flat`.

One worker between a Redis of its own and the fixed answers of `benchmarks/server.py` (the emulator keeps a ledger,
which would grow). Jobs are made inside Redis, never more than BACKLOG waiting; outcomes are kept up to
OUTCOMES_MAX_ENTRIES, so that what is trimmed is part of what is shown. Prints a line now and then, and the table for
the README; exits with 1 if memory has grown.

    PYTHONPATH=. python tests/e2e/flat.py --messages 10000000
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from dispatcher.queue.embedded import EmbeddedRedis

ROOT = Path(__file__).parents[2]
PROJECT = "flat"
STREAM = f"fcm:{{{PROJECT}}}:jobs:normal"
BACKLOG = 20_000
CHUNK = 5_000
KEPT = 500
"""Outcome entries (of up to 500 messages): full after a fortieth of the whole."""

SAMPLES = 1000
"""Over the whole."""

GROWTH = 1.25
"""The most of the second half over the most of the first, its first tenth left out: outcomes are trimmed every ten seconds,
so that the most depends on how fast the machine is just then."""

MAKE = """
local head, tail = ARGV[3], ARGV[4]
for number = ARGV[1], ARGV[1] + ARGV[2] - 1 do
  redis.call('XADD', KEYS[1], '*', 'message', head .. string.format('%011d', number) .. tail)
end
"""
HEAD = '{"token":"flat'
TAIL = (
    ":APA91b%s"
    % ("x" * 118)
    + '","notification":{"title":"New message","body":"Anna: see you at the harbour at eight?"},'
    '"data":{"chat":"4711","kind":"text"},"android":{"priority":"high"}}'
)


@contextmanager
def process(command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A child, ended by its id at the end."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("DISPATCHER_")}
    child = subprocess.Popen(
        [sys.executable, *command],
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.terminate()
        child.communicate(timeout=60)


def rss(pid: int) -> int:
    """Bytes of memory a process has now."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024


def accepted(port: int) -> int:
    """Messages that the worker counts as accepted."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    name = "dispatcher_messages_total{"
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith(name) and 'status="accepted"' in line
    )


def flow(client: redis.Redis, worker: subprocess.Popen[str], messages: int) -> list[tuple[int, int, int]]:
    """Let them through; returns samples of (settled, bytes of Redis, bytes of the worker)."""
    make = client.register_script(MAKE)
    samples: list[tuple[int, int, int]] = []
    made, next_sample = 0, 0
    while True:
        if worker.poll() is not None:
            raise SystemExit(f"the worker ended with {worker.returncode}")
        waiting = client.xlen(STREAM)
        if made - waiting >= next_sample:
            next_sample = made - waiting + messages // SAMPLES
            samples.append((made - waiting, client.info("memory")["used_memory"], rss(worker.pid)))
        if made < messages and waiting <= BACKLOG - CHUNK:
            count = min(CHUNK, messages - made)
            make(keys=[STREAM], args=[made, count, HEAD, TAIL])
            made += count
        elif made == messages and not waiting:
            return samples
        else:
            time.sleep(0.01)


def most(samples: list[tuple[int, int, int]], first: float, last: float, messages: int, column: int) -> int:
    """The most memory while messages `first` to `last` (parts of the whole) were settled."""
    return max((s[column] for s in samples if first * messages <= s[0] <= last * messages), default=0)


def main() -> int:
    """Run, print, judge."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--messages", type=int, default=10_000_000)
    messages = options.parse_args().messages
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedRedis())
        client = stack.enter_context(redis.Redis.from_url(store.url))
        server = stack.enter_context(process([str(ROOT / "benchmarks" / "server.py"), "0"]))
        settings = {
            "REDIS_URL": store.url,
            "CREDENTIALS": "none",
            "PROJECTS": PROJECT,
            "FCM_ENDPOINT": f"http://127.0.0.1:{int(server.stdout.readline())}",
            "TRANSPORT": "batch",
            "QUOTA_PER_MINUTE": "1000000000",
            "OUTCOMES_MAX_ENTRIES": str(KEPT),
            "HTTP_PORT": "0",
            "LOG_FORMAT": "json",
        }
        worker = stack.enter_context(
            process(["-m", "dispatcher", "worker"], **{f"DISPATCHER_{k}": v for k, v in settings.items()})
        )
        port = next(
            line["port"] for line in map(json.loads, worker.stderr) if line["event"] == "worker_starting"
        )
        began = time.monotonic()
        samples = flow(client, worker, messages)
        took = time.monotonic() - began
        counted = accepted(port)
        outcomes = client.xlen(f"fcm:{{{PROJECT}}}:outcomes")
    print(f"{messages:,} messages in {took:.0f} s ({messages / took:,.0f} a second), {counted:,} accepted;")
    print(f"{outcomes} outcome entries left.\n")
    print("| messages | Redis, most MiB | worker, most MiB |\n| --- | ---: | ---: |")
    for tenth in range(10):
        part = tenth / 10, (tenth + 1) / 10
        redis_mb, worker_mb = (most(samples, *part, messages, column) / 2**20 for column in (1, 2))
        upto = (tenth + 1) * messages // 10
        print(f"| up to {upto:,} | {redis_mb:.1f} | {worker_mb:.1f} |")
    flat = all(
        most(samples, 0.5, 1, messages, column) <= GROWTH * most(samples, 0.1, 0.5, messages, column)
        for column in (1, 2)
    )
    print(f"\n{'flat' if flat else 'NOT flat'}")
    return 0 if flat and counted == messages else 1


if __name__ == "__main__":
    sys.exit(main())
