"""One batch on its way over HTTP/2: which of its messages are out, and what came back."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

import msgspec

from dispatcher.model import Fate, SendError, SendResponse
from dispatcher.protocol.answer import read_answer
from dispatcher.protocol.http2.headers import Header
from dispatcher.protocol.http2.streams import Answered, Failed
from dispatcher.transport.session import Answer
from dispatcher.transport.v1_answer import read
from dispatcher.transport.wire import MaySend, always

RESENDS = 5
"""How often a message that the server did not process goes to another connection, before that is its answer: a
server that refuses every stream must not be asked for ever."""


class Carrier(Protocol):
    """What a message goes out on."""

    def abandon(self, stream: int, reason: str) -> Answered | Failed:
        """Give a request up, and say what is known of it."""
        ...


class UnderWay(msgspec.Struct, gc=False):
    """A request under way: where, as what, and since when."""

    carrier: Carrier
    stream: int
    started: float


class Call:
    """The messages of one batch.

    Args:
        headers: of each of its requests.
        bodies: one a message.
        at_once: requests that may be under way at a time.
        now: loop time.
        may_send: asked whenever something of it is about to leave.

    Attributes:
        waiting: numbers of messages that are not on a connection.
        done: set when every message has its response.
        responses: one a message.
        took: seconds that each request took, by HTTP status; 0: no answer.
        refused: messages that never got onto a connection.
        moved: loop time of the last sign that it goes forward.
    """

    def __init__(
        self,
        headers: tuple[Header, ...],
        bodies: list[bytes],
        at_once: int,
        now: float,
        may_send: MaySend = always,
    ) -> None:
        self.headers = headers
        self.may_send = may_send
        self.bodies = bodies
        self.waiting = deque(range(len(bodies)))
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.responses: list[SendResponse] = [_UNSENT] * len(bodies)
        self.took: dict[int, list[float]] = {}
        self.refused = 0
        self.moved = now
        self._at_once = max(1, at_once)
        # In the order of their start, so that the first one is the next to be overdue.
        self._under_way: dict[int, UnderWay] = {}
        self._left = len(bodies)
        self._resends: dict[int, int] = {}
        if not bodies:
            self.done.set_result(None)

    @property
    def room(self) -> int:
        """Messages that may be started now."""
        return min(len(self.waiting), self._at_once - len(self._under_way))

    @property
    def under_way(self) -> int:
        """Requests under way."""
        return len(self._under_way)

    @property
    def waits_since(self) -> float:
        """Loop time since when the next thing to happen has been awaited: an answer, or a connection with room."""
        for request in self._under_way.values():
            return request.started
        return self.moved

    def started(self, number: int, carrier: Carrier, stream: int, now: float) -> None:
        """A message is on a connection."""
        self._under_way[number] = UnderWay(carrier, stream, now)

    def answered(self, number: int, answer: Answered, now: float) -> None:
        """The answer to one message."""
        if answer.status == 200 and not answer.broken:
            response = read_answer(200, None, None, answer.body)
        else:
            response = _read(answer)
        self._end(number, response, answer.status, now)

    def failed(self, number: int, failure: Failed, now: float) -> None:
        """One message got no answer; what the server did not process goes out again."""
        if failure.fate is Fate.NOT_SENT and number in self._under_way:
            tries = self._resends[number] = self._resends.get(number, 0) + 1
            if tries <= RESENDS:
                del self._under_way[number]
                self.waiting.append(number)
                return
        self._end(number, SendResponse(error=SendError(failure.fate, reason=failure.reason)), 0, now)

    def expire(self, before: float, reason: str, now: float) -> None:
        """Give up what was started before this time, and what waits for a connection if it did not move since."""
        if not self._under_way and self.moved <= before:
            self.refuse_waiting(reason)
        for number, request in list(self._under_way.items()):
            if request.started > before:
                break
            known = request.carrier.abandon(request.stream, reason)
            if isinstance(known, Answered):
                self.answered(number, known, now)
            else:
                self._end(number, SendResponse(error=SendError(known.fate, reason=reason)), 0, now)

    def refuse_waiting(self, reason: str) -> None:
        """What is not on a connection stays unsent."""
        while self.waiting:
            number = self.waiting.popleft()
            self.refused += 1
            self.responses[number] = SendResponse(error=SendError(Fate.NOT_SENT, reason=reason))
            self._left -= 1
        self._settle()

    def _end(self, number: int, response: SendResponse, status: int, now: float) -> None:
        request = self._under_way.pop(number, None)
        if request is None:
            return
        self.moved = now
        self.responses[number] = response
        durations = self.took.get(status)
        if durations is None:
            durations = self.took[status] = []
        durations.append(now - request.started)
        self._left -= 1
        if self._left == 0:
            self._settle()

    def _settle(self) -> None:
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)


_UNSENT = SendResponse()


def _read(answer: Answered) -> SendResponse:
    whole = Answer(answer.status, None, None, None, answer.body, answer.broken)
    for name, value in answer.headers:
        if name == b"retry-after":
            whole.retry_after = value.decode("latin-1")
        elif name == b"date":
            whole.date = value.decode("latin-1")
        elif name == b"content-type":
            whole.content_type = value.decode("latin-1")
    return read(whole)
