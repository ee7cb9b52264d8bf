"""What a recipient costs one worker over the legacy wire, from the entry in Redis to its recorded outcome.

Two kinds of jobs: one of 500 tokens each (`tokens`), and one of a single token each with the same message (as a campaign
that was enqueued token by token), which the worker packs by what they say. As in `pipeline.py` the jobs wait aside until
the worker is ready and idle; measured is from there to the last settled one. The server answers every recipient with a
message id and checks nothing.

    python benchmarks/legacy.py --recipients 500000 --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
import redis
import results
import uvloop

from dispatcher.queue.embedded import EmbeddedRedis

PROJECT = "bench"
STREAM = f"fcm:{{{PROJECT}}}:jobs:normal"
ASIDE = f"fcm:{{{PROJECT}}}:aside"
TOKENS = 500
IDLE_S = 2.0
CONTENT = (
    b'"notification":{"title":"Kick-off","body":"Anna: see you at the harbour at eight?"},'
    b'"data":{"match":"4711","kind":"text"},"android":{"priority":"high","ttl":"600s"}}'
)


def token(number: int) -> str:
    return f"bench{number:011d}:APA91b" + "x" * 118


class Answering(asyncio.Protocol):
    """One keep-alive connection; as many results as recipients."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.missing = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect a request; answer when it is whole."""
        if self.missing < 0:
            head, _, data = data.partition(b"\r\n\r\n")
            self.missing = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        self.pieces.append(data)
        self.missing -= len(data)
        if self.missing:
            return
        self.missing = -1
        count = b"".join(self.pieces).count(b":APA91b")
        self.pieces = []
        body = (
            b'{"multicast_id":6254812345678901234,"success":%d,"failure":0,"canonical_ids":0,"results":[%b]}'
            % (count, b",".join([b'{"message_id":"0:1731000000333444%5f0e1d2c"}'] * count))
        )
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)  # type: ignore[attr-defined]


def answer(told: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


@contextmanager
def server() -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=answer, args=(theirs,), daemon=True)
    child.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        child.terminate()
        child.join()


def enqueue(client: redis.Redis, kind: str, recipients: int) -> int:
    """Fill the stream aside; returns how many jobs it holds."""
    step = TOKENS if kind == "multicast" else 1
    jobs = 0
    with client.pipeline(transaction=False) as pipe:
        for start in range(0, recipients, step):
            if step == 1:
                message = b'{"token":"%b",' % token(start).encode() + CONTENT
                pipe.execute_command("XADD", ASIDE, "*", "message", message)
            else:
                tokens = orjson.dumps([token(number) for number in range(start, start + step)])
                pipe.execute_command("XADD", ASIDE, "*", "message", b"{" + CONTENT, "tokens", tokens)
            jobs += 1
            if jobs % (5000 // step or 1) == 0:
                pipe.execute()
        pipe.execute()
    client.xgroup_create(ASIDE, "dispatcher", id="0")
    return jobs


def wait_until(condition: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    while not condition():
        if child.poll() is not None:
            raise SystemExit(f"the worker ended with {child.returncode}")
        time.sleep(0.005)


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10):
            return True
    except OSError:  # not listening yet, or 503
        return False


def cpu_s(pid: int) -> float:
    # Linux: the CPU clock of a process, in nanoseconds.
    return time.clock_gettime((~pid << 3) | 2)


def run(store: str, endpoint: str, kind: str, recipients: int, port: int, key: Path) -> dict[str, float]:
    client = redis.Redis.from_url(store)
    client.flushall()
    enqueue(client, kind, recipients)
    settings = {
        "DISPATCHER_REDIS_URL": store,
        "DISPATCHER_CREDENTIALS": "none",
        "DISPATCHER_PROJECTS": PROJECT,
        "DISPATCHER_TRANSPORT": "legacy",
        "DISPATCHER_LEGACY_ENDPOINT": endpoint,
        "DISPATCHER_LEGACY_KEY_FILE": str(key),
        "DISPATCHER_QUOTA_PER_MINUTE": "1000000000",
        "DISPATCHER_HTTP_PORT": str(port),
        "DISPATCHER_LOG_LEVEL": "error",
    }
    child = subprocess.Popen([sys.executable, "-m", "dispatcher", "worker"], env={**os.environ, **settings})
    try:
        wait_until(lambda: ready(port), child)
        time.sleep(IDLE_S)
        started, cpu = time.perf_counter(), cpu_s(child.pid)
        client.rename(ASIDE, STREAM)
        wait_until(lambda: client.xlen(STREAM) == 0, child)
        took, cpu = time.perf_counter() - started, cpu_s(child.pid) - cpu
    finally:
        child.terminate()
        child.wait(60)
    return {
        "wall": recipients / took,
        "core": recipients / cpu,
        "cpu_us": cpu / recipients * 1e6,
    }


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--recipients", type=int, default=500_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--port", type=int, default=18090)
    options.add_argument("--quick", action="store_true", help="one round, a fifth of the recipients")
    options.add_argument("--dry", action="store_true", help="print only")
    arguments = options.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.recipients = 1, arguments.recipients // 5
    rows = []
    with EmbeddedRedis() as store, server() as endpoint, tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key"
        key.write_text("AAAAbench:key")
        for kind in ("multicast", "single tokens"):
            rounds = [
                run(store.url, endpoint, kind, arguments.recipients, arguments.port, key)
                for _ in range(arguments.rounds)
            ]
            median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
            row = {"kind": kind, "recipients": arguments.recipients}
            rows.append(row | {name: round(value, 2) for name, value in median.items()})
            print(rows[-1], flush=True)
    if not arguments.dry:
        results.save("legacy", {"rows": rows}, quick=arguments.quick)


if __name__ == "__main__":
    main()
