"""What enqueueing costs a producer process: `send_many` of plain messages, and a file of tokens through `multicast`.

A private Redis on a unix socket, the producer in a process of its own; CPU is that process's user and system time.

    python benchmarks/producer.py
    python benchmarks/producer.py --only tokens --tokens 10000000 --dry
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import results

from dispatcher.client import Producer, SyncProducer
from dispatcher.queue.embedded import EmbeddedRedis

PROJECT = "bench"
CALL = 5_000
"""Messages in one call of `send_many`."""
MESSAGE = {
    "notification": {"title": "Sale", "body": "All of it, until eight"},
    "android": {"priority": "high"},
}


def message(number: int) -> dict[str, object]:
    """About 300 bytes as JSON, as a token message of a chat looks."""
    return {
        "token": f"bench{number:011d}:APA91b" + "x" * 118,
        "notification": {"title": "New message", "body": "Anna: see you at the harbour at eight?"},
        "data": {"chat": "4711", "kind": "text"},
        "android": {"priority": "high"},
    }


def write_tokens(file: Path, count: int) -> None:
    with file.open("w") as out:
        for start in range(0, count, 100_000):
            out.writelines(
                f"bench{n:011d}:APA91b{'x' * 118}\n" for n in range(start, min(count, start + 100_000))
            )


async def send_many(url: str, count: int, options: dict[str, object]) -> None:
    async with Producer.at(url) as producer:
        for start in range(0, count, CALL):
            calls = (message(number) for number in range(start, min(count, start + CALL)))
            await producer.send_many(PROJECT, calls, **options)  # type: ignore[arg-type]


def send_many_sync(url: str, count: int) -> None:
    with SyncProducer.at(url) as producer:
        for start in range(0, count, CALL):
            producer.send_many(
                PROJECT, (message(number) for number in range(start, min(count, start + CALL)))
            )


async def multicast(url: str, file: str) -> None:
    async with Producer.at(url) as producer:
        with Path(file).open() as lines:  # noqa: ASYNC230 - as a script of its own would
            await producer.multicast(PROJECT, MESSAGE, (line.rstrip("\n") for line in lines), lane="bulk")


def run(what: str, url: str, count: int, file: str) -> None:
    """The producer's process; prints what it took."""
    began, before = time.perf_counter(), time.process_time()
    if what == "send_many":
        asyncio.run(send_many(url, count, {}))
    elif what == "send_many, options":
        asyncio.run(send_many(url, count, {"campaign": "spring", "expires_at": 4102444800.0}))
    elif what == "send_many, sync":
        send_many_sync(url, count)
    else:
        asyncio.run(multicast(url, file))
    wall, cpu = time.perf_counter() - began, time.process_time() - before
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "rss": rss}))


def measure(what: str, count: int, file: str, rounds: int) -> dict[str, object]:
    walls, cpus, sizes = [], [], []
    for _ in range(rounds):
        # Memory of the server is not what is measured: it keeps the jobs of one round.
        with EmbeddedRedis() as server:
            done = subprocess.run(
                [sys.executable, __file__, "--run", what, "--url", server.url, "--count", str(count), "--file", file],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
        took = json.loads(done.stdout)
        walls.append(took["wall"])
        cpus.append(took["cpu"])
        sizes.append(took["rss"])
    wall, cpu = statistics.median(walls), statistics.median(cpus)
    row = {
        "what": what,
        "messages": count,
        "a_second": round(count / wall),
        "a_cpu_second": round(count / cpu),
        "cpu_us": round(cpu / count * 1e6, 3),
        "rss_mb": round(max(sizes)),
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--tokens", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["jobs", "tokens"])
    parser.add_argument("--quick", action="store_true", help="one round, a quarter of the messages")
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        run(chosen.run, chosen.url, chosen.count, chosen.file)
        return
    if chosen.quick:
        chosen.rounds, chosen.jobs, chosen.tokens = 1, chosen.jobs // 4, chosen.tokens // 4
    rows = []
    if chosen.only != "tokens":
        kinds = ("send_many", "send_many, options", "send_many, sync")
        rows += [measure(what, chosen.jobs, "", chosen.rounds) for what in kinds]
    if chosen.only != "jobs":
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "tokens.txt"
            write_tokens(file, chosen.tokens)
            rows.append(measure("multicast of a token file", chosen.tokens, str(file), chosen.rounds))
    if not chosen.dry:
        results.save("producer", {"rows": rows}, quick=chosen.quick)


if __name__ == "__main__":
    main()
