"""What a message may cost, counted and not timed: Redis commands, bytes of its log, Python calls, memory.

Connections and TLS handshakes are counted in tests/integration/transport/test_http2_servers.py.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest
import redis.asyncio

from dispatcher.model import SendResponse
from dispatcher.pipeline.concluding import Context, conclude_accepted
from dispatcher.policy.packer import Packer
from dispatcher.policy.settle import DEFAULTS
from dispatcher.protocol.batch import decode_response, encode_request
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.message import bodies
from dispatcher.protocol.outcome import split_outcomes
from dispatcher.queue.embedded import EmbeddedRedis
from dispatcher.queue.script import Script

BATCHES = 20
BATCH = 500
MESSAGES = BATCHES * BATCH
AOF_BYTES = 750
"""Most bytes of Redis's log that a message of about 300 bytes may need after it is in: read, settled, its outcome."""
CALLS = 25
"""Most Python and C calls a message, from the entry to its outcome as JSON; Redis and the wire apart."""
BLOCKS = 9
"""Most allocations that a message keeps while it is in flight."""


def message(number: int) -> dict[str, object]:
    return {
        "token": f"bench{number:011d}:APA91b" + "x" * 118,
        "notification": {"title": "New message", "body": "Anna: see you at the harbour at eight?"},
        "data": {"chat": "4711", "kind": "text"},
        "android": {"priority": "high"},
    }


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    """One that writes its log, as it should in production."""
    with EmbeddedRedis(options=("--appendonly", "yes", "--appendfsync", "no")) as running:
        yield running


async def watch(client: redis.asyncio.Redis, seen: Counter[str], ready: asyncio.Event) -> None:
    """Count what clients send; scripts by their names."""
    scripts = {Script(name).sha: name for name in ("grant", "settle")}
    async with client.monitor() as monitor:
        ready.set()
        while True:
            found = await monitor.next_command()
            if found["client_type"] == "lua":
                continue
            name, *rest = found["command"].split(" ", 2)
            if name.upper() == "EVALSHA":
                name = scripts.get(rest[0], "other script")
            elif name.upper() == "XREADGROUP" and " BLOCK " in found["command"]:
                name = "listen"
            seen[name.lower()] += 1


async def test_a_batch_takes_at_most_four_redis_commands_and_a_message_little_of_the_log(serve, desk, server):
    for start in range(0, MESSAGES, 1000):
        await desk.add_many("normal", [message(number) for number in range(start, start + 1000)])
    before = (await desk.redis.info("persistence"))["aof_current_size"]
    seen: Counter[str] = Counter()
    client = redis.asyncio.Redis.from_url(server.url, protocol=2)
    ready = asyncio.Event()
    watching = asyncio.create_task(watch(client, seen, ready))
    await ready.wait()
    # A worker that stumbles on a busy machine must not close its batches half full for that.
    worker = await serve(quota_per_minute=100_000_000, linger_ms=1000)

    await desk.outcomes(MESSAGES, within=60)

    watching.cancel()
    await asyncio.wait([watching])
    await client.aclose()
    sent = await worker.face.metric("batch_messages_count")
    assert MESSAGES / BATCH <= sent <= MESSAGES / BATCH + 4
    assert seen["settle"] == sent
    # The rest is periodic: leases, the control hash, figures for the metrics.
    assert seen["xreadgroup"] + seen["grant"] + seen["settle"] <= 4 * sent, seen
    written = (await desk.redis.info("persistence"))["aof_current_size"] - before
    assert written <= AOF_BYTES * MESSAGES, written / MESSAGES


class OneBatch:
    """A batch on its way through everything that is neither Redis nor the wire."""

    def __init__(self) -> None:
        self.entries = [
            (f"1731000000123-{number}", [b"message", msgspec.json.encode(message(number))])
            for number in range(BATCH)
        ]
        name = b'{"name":"projects/p/messages/0:1731000000222333%5f0e1d2c00000001"}'
        self.answer = b"".join(
            b"--b\r\nContent-Type: application/http\r\nContent-ID: response-%d\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%b\r\n" % (number, name)
            for number in range(1, BATCH + 1)
        ) + b"--b--\r\n"  # fmt: skip

    def run(self) -> int:
        limits = DecodeLimits()
        jobs = [decode_entry("p", "normal", entry_id, fields, limits) for entry_id, fields in self.entries]
        (batch,) = Packer(BATCH, 0.02).add(jobs, 0.0, 1)
        now = 1_731_000_000.5
        encode_request("p", bodies(batch.jobs, now), "b")
        found = decode_response("multipart/mixed; boundary=b", self.answer, BATCH, date=None)
        outcomes = conclude_accepted(batch, found.responses, Context(now, DEFAULTS, lambda: 0.5))
        return len(split_outcomes(outcomes))


def calls_of(run) -> int:
    """Python and C functions called."""
    count = 0

    def called(_, event: str, __) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def test_a_message_takes_few_calls():
    one = OneBatch()
    assert one.run() == BATCH
    assert calls_of(one.run) / BATCH <= CALLS


def test_a_message_in_flight_keeps_few_allocations():
    one, limits = OneBatch(), DecodeLimits()

    def held():
        jobs = [decode_entry("p", "normal", entry_id, fields, limits) for entry_id, fields in one.entries]
        return Packer(BATCH, 0.02).add(jobs, 0.0, 1), [SendResponse("name") for _ in jobs]

    held()
    gc.collect()
    before = sys.getallocatedblocks()
    kept = held()
    assert (sys.getallocatedblocks() - before) / BATCH <= BLOCKS
    assert len(kept[1]) == BATCH
