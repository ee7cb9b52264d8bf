"""What the client's side of HTTP/2 promises, whatever it hears."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from itertools import groupby
from typing import NamedTuple

from http2_server import ASK, BEGIN, Talk, garbled, honest
from verdicts import judged

from dispatcher.model import Fate
from dispatcher.protocol.answer import read_answer
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.answers import CONNECTION_WINDOW, MAX_BLOCK, STREAM_WINDOW
from dispatcher.protocol.http2.connection import Connection
from dispatcher.protocol.http2.frames import ErrorCode
from dispatcher.protocol.http2.streams import Answered, Closed, Event, Failed

REQUESTS = [
    (
        (b":method", b"POST"),
        (b":path", b"/v1/projects/p/messages:send"),
        (b"authorization", b"Bearer " + token),
    )
    for token in (b"a" * 200, b"b" * 200, b"c" * 20_000)  # the last needs CONTINUATION
]
BODY = b'{"message":{"token":"fQ7xK2tLmN8:APA91b"}}'


class Client:
    """A connection that is looked at whenever it has heard or done something."""

    def __init__(self) -> None:
        self.connection = Connection()
        self.begun: list[int] = []
        self.given_up: set[int] = set()
        self.told: dict[int, Answered | Failed] = {}
        self.closed = ""
        self.goodbyes: list[ErrorCode] = []
        # Bytes that may be sent: for what is asked, and twice what is heard (a reset is longer than a frame without
        # a payload).
        self._allowed = 1000
        self._sent()

    def act(self, act: int) -> None:
        """Begin a request, if there is room; ask for a sign of life; or cancel a stream, whatever it is."""
        if act == BEGIN:
            if self.connection.room:
                number = len(self.begun)
                headers = REQUESTS[2 if number % 50 == 10 else number % 4 == 3]
                self.begun.append(self.connection.request(headers, BODY))
                self._allowed += 200 + len(headers[-1][1])
        elif act == ASK:
            if not self.closed:
                self.connection.ping()
                self._allowed += 17
        else:
            open_before = act in self.connection._streams.open
            known = self.connection.cancel(act, "given up")
            assert (known is not None) is open_before
            if known is not None:
                self.given_up.add(act)
                self._allowed += 13
        self._sent()

    def hear(self, data: bytes) -> None:
        self._allowed += 2 * len(data)
        self._tell(self.connection.receive(data))
        self._sent()
        streams, answers = self.connection._streams, self.connection._answers
        assert len(self.connection._buffer) < frames.MAX_FRAME + 9
        assert len(answers._block) <= MAX_BLOCK
        assert sum(len(state.body or b"") for state in streams.open.values()) <= streams.held
        assert streams.held <= CONNECTION_WINDOW
        assert answers.headers._decoder.header_table.maxsize <= 4096
        assert not streams.events

    def lost(self) -> None:
        """The end; every request has had one of its own by then."""
        self._tell(self.connection.lost("the end"))
        assert self.connection.closed
        assert self.connection.receive(bytes(100)) == []
        assert (self.connection.take(), self.connection.room, self.connection.streams) == (b"", 0, 0)
        assert (self.connection._streams.held, self.connection.blocked) == (0, [])
        assert sorted([*self.told, *self.given_up]) == self.begun
        assert self.closed

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            assert not self.closed, "something is told after the end"
            if isinstance(event, Closed):
                self.closed = event.reason
                continue
            assert event.stream in self.begun
            assert event.stream not in self.told
            assert event.stream not in self.given_up
            self.told[event.stream] = event
            if isinstance(event, Answered):
                assert len(event.body) <= STREAM_WINDOW
                _read(event)
            else:
                assert event.fate in {Fate.NOT_SENT, Fate.UNKNOWN}
                assert event.reason.isprintable()

    def _sent(self) -> None:
        """What leaves is whole frames, and little; a goodbye is the last of them."""
        data = self.connection.take().removeprefix(frames.PREFACE)
        self._allowed -= len(data)
        assert self._allowed >= 0, "more is sent than was asked and heard"
        while data:
            assert not self.goodbyes, "something is sent after a goodbye"
            length, kind = int.from_bytes(data[:3], "big"), data[3]
            payload, data = data[9 : 9 + length], data[9 + length :]
            assert len(payload) == length
            if kind == frames.GOAWAY:
                self.goodbyes.append(ErrorCode(int.from_bytes(payload[4:8], "big")))
        if self.closed:
            assert self.goodbyes
            assert (self.goodbyes[-1] != 0) is ("broke HTTP/2" in self.closed)
        else:
            assert not self.goodbyes


def _read(answer: Answered) -> None:
    """As the transport reads it."""
    assert 200 <= answer.status <= 999
    assert answer.broken.isprintable()
    said = {name: value.decode("latin-1") for name, value in answer.headers}
    response = read_answer(answer.status, said.get(b"retry-after"), said.get(b"date"), answer.body)
    if response.error is not None:
        judged(response.error)


def play(talk: Talk, chance: random.Random) -> Client:
    """Let a client hear it, in pieces of any length."""
    client = Client()
    heard = bytearray()
    for item in [*talk, None]:
        if isinstance(item, bytes):
            heard += item
            continue
        while heard:
            step = chance.choice((1, 9, 60, 5000, 1 << 20, 1 << 20))
            client.hear(bytes(heard[:step]))
            del heard[:step]
        if item is not None:
            client.act(item)
    client.lost()
    return client


class Input(NamedTuple):
    """What is played, and the seed of its cuts; written so that a thousand frames of a kind are one."""

    talk: Talk
    cuts: float

    def __repr__(self) -> str:
        runs = [(item, len(list(items))) for item, items in groupby(self.talk)]
        said = ", ".join(f"{item!r}" if count == 1 else f"*[{item!r}] * {count}" for item, count in runs)
        return f"play([{said}], random.Random({self.cuts!r}))"


@cache
def talks() -> list[Talk]:
    """What is garbled: the same for every seed."""
    return [honest(random.Random(number), rude=number % 2 == 1)[0] for number in range(400)]


def fuzz_talk(chance: random.Random) -> tuple[object, Callable[[], str]]:
    talk = chance.choice(talks())
    if chance.random() < 0.95:
        talk = garbled(talk, chance)
    given = Input(talk, chance.random())

    def run() -> str:
        client = play(given.talk, random.Random(given.cuts))
        return client.goodbyes[-1].name if client.goodbyes else "to the end"

    return given, run
