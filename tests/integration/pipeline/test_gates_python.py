"""What a message may cost a worker's own process, counted and not timed: calls and memory, Redis and the socket apart."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from hpack import Encoder

from dispatcher.model import Batch, Fate, SendError, SendResponse
from dispatcher.pipeline.concluding import Context, conclude, conclude_accepted
from dispatcher.policy.packer import Packer
from dispatcher.policy.settle import DEFAULTS
from dispatcher.protocol.batch import decode_response, encode_request
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import Setting
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.message import bodies
from dispatcher.protocol.outcome import split_outcomes
from dispatcher.queue.reading import Entry
from dispatcher.transport.http2 import Http2Transport
from dispatcher.transport.http2_connect import Place
from dispatcher.transport.http2_link import Link, Patience
from dispatcher.transport.http2_pool import Http2Pool
from dispatcher.transport.route import Route
from dispatcher.transport.wire import Timeouts

BATCH = 500
NOW = 1_731_000_000.5
LIMITS = DecodeLimits()

BATCH_CALLS = 22
"""Most Python and C calls a message over `batch`, from the entry to its outcome as JSON: 21.1 when this was set."""
BATCH_BLOCKS = 10.5
"""Most allocations that a message over `batch` keeps while it is in flight, what is kept of its entry included: 10.0."""
HTTP2_CALLS = 58
"""The same over HTTP/2, from the entry to the bytes for the socket and from its bytes to the outcome: 55.9."""
HTTP2_BLOCKS = 15
"""The same over HTTP/2, while its stream is open: 14.6."""


def message(number: int) -> bytes:
    return msgspec.json.encode(
        {
            "token": f"bench{number:011d}:APA91b" + "x" * 118,
            "notification": {"title": "New message", "body": "Anna: see you at the harbour at eight?"},
            "data": {"chat": "4711", "kind": "text"},
            "android": {"priority": "high"},
        }
    )


MESSAGES = [message(number) for number in range(BATCH)]
NAME = b'{"name":"projects/p/messages/0:1731000000222333%5f0e1d2c00000001"}'


def fresh(value: bytes) -> bytes:
    """A copy, as each name and value of an entry is an object of its own when it comes from Redis."""
    return bytes(bytearray(value))


def entries() -> list[Entry]:
    """As they come from Redis."""
    return [
        (f"1731000000123-{number}", [fresh(b"message"), fresh(raw)]) for number, raw in enumerate(MESSAGES)
    ]


def packed(read: list[Entry]) -> Batch:
    """The entries as one batch."""
    jobs = [decode_entry("p", "normal", entry_id, fields, LIMITS) for entry_id, fields in read]
    (batch,) = Packer(BATCH, 0.02).add(jobs, 0.0, 1)
    return batch


def recorded(batch: Batch, responses: list[SendResponse]) -> int:
    """How many outcomes a batch comes to."""
    outcomes = conclude_accepted(batch, responses, Context(NOW, DEFAULTS, lambda: 0.5))
    return len(split_outcomes(outcomes))


class Calls:
    """Python and C functions called."""

    def __init__(self) -> None:
        self.count = 0

    def called(self, _: object, event: str, __: object) -> None:
        self.count += event in ("call", "c_call")


@contextmanager
def counted() -> Iterator[Calls]:
    """Counts calls while it lasts."""
    calls = Calls()
    sys.setprofile(calls.called)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def blocks() -> int:
    """Allocations now."""
    gc.collect()
    return sys.getallocatedblocks()


# As one request.


ANSWER = b"".join(
    b"--b\r\nContent-Type: application/http\r\nContent-ID: response-%d\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%b\r\n" % (number, NAME)
    for number in range(1, BATCH + 1)
) + b"--b--\r\n"  # fmt: skip


def over_batch(read: list[Entry]) -> int:
    batch = packed(read)
    encode_request("p", bodies(batch.jobs, NOW), "b")
    found = decode_response("multipart/mixed; boundary=b", ANSWER, BATCH, date=None)
    return recorded(batch, found.responses)


def test_a_message_of_a_batch_takes_few_calls():
    assert over_batch(entries()) == BATCH
    read = entries()
    with counted() as calls:
        over_batch(read)
    assert calls.count / BATCH <= BATCH_CALLS, calls.count / BATCH


def test_a_message_of_a_batch_in_flight_keeps_few_allocations():
    def held() -> tuple[Batch, list[SendResponse]]:
        return packed(entries()), [SendResponse("name") for _ in MESSAGES]

    held()
    before = blocks()
    kept = held()
    found = (blocks() - before) / BATCH
    assert found <= BATCH_BLOCKS, found
    assert len(kept[1]) == BATCH


# As requests of their own, over HTTP/2.


class Wire(asyncio.Transport):
    """A server that takes what is sent and answers when it is told to; both without a socket.

    Attributes:
        link: the connection to it.
    """

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link
        self.written = 0
        self._stream = 1
        # `True`: in no table, since the client's has no room.
        self._block = Encoder().encode(
            [(":status", "200"), ("content-type", "application/json; charset=UTF-8", True)]
        )
        link.connection_made(self)
        self.say(
            frames.settings({Setting.MAX_CONCURRENT_STREAMS: 2 * BATCH, Setting.INITIAL_WINDOW_SIZE: 1 << 20})
            + frames.frame(frames.SETTINGS, frames.ACK, 0)
            + frames.window_update(0, 1 << 28)
        )

    def write(self, data: bytes) -> None:
        """What the client sends."""
        self.written += len(data)

    def close(self) -> None:
        """The client hangs up."""
        self.link.connection_lost(None)

    abort = close

    def answers(self) -> bytes:
        """To the next batch."""
        first, self._stream = self._stream, self._stream + 2 * BATCH
        return b"".join(
            frames.frame(frames.HEADERS, frames.END_HEADERS, stream, self._block)
            + frames.frame(frames.DATA, frames.END_STREAM, stream, NAME)
            for stream in range(first, self._stream, 2)
        )

    def say(self, data: bytes) -> None:
        """Let the client read this, as it would from a socket."""
        while data:
            room = self.link.get_buffer(-1)
            piece, data = data[: len(room)], data[len(room) :]
            room[: len(piece)] = piece
            self.link.buffer_updated(len(piece))


class OverHttp2:
    """All that is between a batch and the socket of its one connection."""

    def __init__(self) -> None:
        url = "http://127.0.0.1:1"
        self.pool = Http2Pool(Place.of(url, Route(), only_http2=True), lambda: 1, only=True)
        self.wire = Wire(Link(self.pool._pump, Patience()))
        self.pool._links.append(self.wire.link)
        self.transport = Http2Transport(self.pool, url, Timeouts(60.0, 60.0), lambda *_: None)

    async def begun(self, read: list[Entry]) -> tuple[Batch, asyncio.Task[list[SendResponse]]]:
        """Send a batch; its answers are to come."""
        batch = packed(read)
        sending = asyncio.ensure_future(self.transport.send(batch, "ya29.token", now=NOW, at_once=BATCH))
        await asyncio.sleep(0)
        assert self.wire.link.busy == BATCH
        return batch, sending

    async def run(self, read: list[Entry], answers: bytes) -> int:
        """All of it."""
        batch, sending = await self.begun(read)
        self.wire.say(answers)
        return recorded(batch, await sending)


@pytest.fixture
async def http2():
    made = OverHttp2()
    yield made
    await made.pool.aclose()


async def test_a_message_over_http2_takes_few_calls(http2):
    assert await http2.run(entries(), http2.wire.answers()) == BATCH
    read, answers = entries(), http2.wire.answers()
    with counted() as calls:
        await http2.run(read, answers)
    assert http2.wire.written > BATCH * len(MESSAGES[0])
    assert calls.count / BATCH <= HTTP2_CALLS, calls.count / BATCH


async def test_a_message_over_http2_in_flight_keeps_few_allocations(http2):
    assert await http2.run(entries(), http2.wire.answers()) == BATCH
    answers = http2.wire.answers()
    before = blocks()
    batch, sending = await http2.begun(entries())
    found = (blocks() - before) / BATCH
    http2.wire.say(answers)
    assert recorded(batch, await sending) == BATCH
    assert found <= HTTP2_BLOCKS, found


# What waits.


def test_a_message_that_waits_for_a_retry_keeps_little_more_than_its_bytes():
    """Of a server that is away thousands are put aside at once; orjson's bytes would keep four times their room."""
    batch = packed(entries())
    away = [SendResponse(error=SendError(Fate.NOT_SENT, reason="refused"))] * BATCH
    context = Context(NOW, DEFAULTS, lambda: 0.5)
    tracemalloc.start()
    conclusion = conclude(batch, away, {}, context)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    written = sum(len(item.delayed[0].fields) for item in conclusion.items)
    assert held <= 2.5 * written
