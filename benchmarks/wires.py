"""The other wires: what legacy multicast, topic subscriptions and XMPP cost one worker, from Redis to recorded outcome.

Measured as in `pipeline.py`: jobs lie aside until the worker is ready, connected and idle; the window runs from the
moment they are there until the last one is settled. Each wire has its server with a fixed answer on the same machine
(`server.py`, `xmpp_server.py`), which gives every recipient a success and checks nothing.

    python benchmarks/wires.py                                  # three rounds, into results/wires.json
    python benchmarks/wires.py --only xmpp --rounds 1 --dry
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import orjson
import redis
import results
from stage import GROUP, HERE, aside, first_number, memory_mb, process, server, settle, worker

from dispatcher.emulator.xmpp_listener import write_certificate
from dispatcher.queue.embedded import EmbeddedRedis

PROJECT = "bench"
CONTENT = (
    b'"notification":{"title":"Kick-off","body":"Anna: see you at the harbour at eight?"},'
    b'"data":{"match":"4711","kind":"text"},"android":{"priority":"high","ttl":"600s"}}'
)
CONNECTIONS = 10
"""Of XMPP; each has at most 100 messages under way."""
XMPP_LATENCY_MS = 100.0

Fields = dict[str, bytes]


def token(number: int) -> str:
    """142 characters, as FCM's are."""
    return f"bench{number:011d}:APA91b" + "x" * 120


def tokens(start: int, count: int) -> list[str]:
    """So many in a row."""
    return [token(number) for number in range(start, start + count)]


def multicast(items: int) -> Iterator[Fields]:
    """One message for 500 tokens a job."""
    for start in range(0, items, 500):
        yield {"message": b"{" + CONTENT, "tokens": orjson.dumps(tokens(start, 500))}


def single(items: int) -> Iterator[Fields]:
    """The same message in one job a token, as of a campaign that was enqueued token by token."""
    for number in range(items):
        yield {"message": b'{"token":"%b",%b' % (token(number).encode(), CONTENT)}


def subscriptions(each: int) -> Callable[[int], Iterator[Fields]]:
    """So many tokens a job, all for one topic."""

    def jobs(items: int) -> Iterator[Fields]:
        for start in range(0, items, each):
            request = {"topic": "harvest-news", "tokens": tokens(start, each), "via": "batch"}
            yield {"operation": b"topic.subscribe", "request": orjson.dumps(request)}

    return jobs


class Case(NamedTuple):
    """What is measured.

    Attributes:
        what: as the table calls it.
        transport: the worker's.
        jobs: those of so many items.
        items: recipients, tokens or messages a round.
        aim: the least, or most, that it is to be.
        latency_ms: the server's.
    """

    what: str
    transport: str
    jobs: Callable[[int], Iterator[Fields]]
    items: int
    aim: str = ""
    latency_ms: float = 0.0


CASES = {
    "legacy-multicast": Case("legacy, 500 tokens a job", "legacy", multicast, 500_000, "at least 50,000 a second"),
    "legacy-single": Case("legacy, one token a job", "legacy", single, 200_000),
    "topics": Case("topic.subscribe, 1,000 tokens a job", "v1", subscriptions(1000), 500_000, "at most 10 us"),
    "topics-single": Case("topic.subscribe, one token a job", "v1", subscriptions(1), 200_000),
    "xmpp": Case("xmpp", "xmpp", single, 100_000, "at least 5,000 a second"),
    "xmpp-far": Case("xmpp, an ack takes 100 ms", "xmpp", single, 50_000, "", XMPP_LATENCY_MS),
}  # fmt: skip


class Endpoints:
    """The servers of all cases, started when first asked for, and how a worker finds them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._key = folder / "server-key"
        self._key.write_text("AAAAbench:key")
        self._plain = ""
        self._xmpp: dict[float, str] = {}

    def settings(self, case: Case) -> dict[str, object]:
        """Of the worker."""
        if case.transport == "xmpp":
            return {
                "xmpp_endpoint": self._xmpp_of(case.latency_ms),
                "xmpp_connections": CONNECTIONS,
                "sender_id": "884400112233",
                "ca_file": self._folder / "ca.pem",
                "legacy_key_file": self._key,
            }
        if case.transport == "legacy":
            return {"legacy_key_file": self._key}
        return {"subscriptions_per_s": 1_000_000}

    def plain(self) -> str:
        """URL of all that speaks HTTP."""
        self._plain = self._plain or self._stack.enter_context(server())
        return self._plain

    def _xmpp_of(self, latency_ms: float) -> str:
        if not self._xmpp:
            write_certificate(self._folder / "ca.pem", self._folder / "key.pem", ["127.0.0.1"])
        if latency_ms not in self._xmpp:
            command = [sys.executable, str(HERE / "xmpp_server.py"), str(self._folder), str(latency_ms)]
            child = self._stack.enter_context(process(command))
            self._xmpp[latency_ms] = f"127.0.0.1:{first_number(child)}"
        return self._xmpp[latency_ms]


def run(store: EmbeddedRedis, endpoints: Endpoints, case: Case, items: int) -> dict[str, float]:
    """One round."""
    client = redis.Redis.from_url(store.url)
    client.flushall()
    jobs = case.jobs(items)
    while some := list(islice(jobs, 500)):
        with client.pipeline(transaction=False) as pipe:
            for fields in some:
                pipe.xadd(aside(PROJECT), fields)
            pipe.execute()
    client.xgroup_create(aside(PROJECT), GROUP, id="0")
    settings = endpoints.settings(case)
    with worker(store.url, endpoints.plain(), case.transport, [PROJECT], **settings) as running:
        window = settle(running, client, [PROJECT])
        peak = memory_mb(running.pid)[1]
        good = sum(running.metric("dispatcher_messages_total", f'status="{s}"') for s in ("accepted", "done"))
    if good < items:
        raise SystemExit(f"{case.what}: {good:,.0f} of {items:,} succeeded")
    return {
        "a_second": items / window.wall_s,
        "a_cpu_second": items / window.cpu_s,
        "cpu_us": window.cpu_s / items * 1e6,
        "rss_mb": peak,
    }


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--quick", action="store_true", help="one round, a fifth of the items")
    options.add_argument("--dry", action="store_true", help="print only")
    asked = options.parse_args()
    if asked.quick:
        asked.rounds = 1
    rows = []
    with EmbeddedRedis() as store, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        endpoints = Endpoints(stack, Path(folder))
        for case in (CASES[name] for name in asked.only):
            items = case.items // 5 if asked.quick else case.items
            rounds = [run(store, endpoints, case, items) for _ in range(asked.rounds)]
            median = {name: round(statistics.median(each[name] for each in rounds), 2) for name in rounds[0]}
            rows.append({"what": case.what, "items": items, "aim": case.aim, "rounds": len(rounds)} | median)
            print(rows[-1], flush=True)
    if not asked.dry:
        results.save("wires", {"rows": rows}, quick=asked.quick)


if __name__ == "__main__":
    main()
