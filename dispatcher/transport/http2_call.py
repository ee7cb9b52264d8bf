"""One batch on its way over HTTP/2: which of its messages are out, and what came back."""

from __future__ import annotations

import asyncio
from collections import deque

from dispatcher.model import Fate, SendError, SendResponse
from dispatcher.protocol.answer import read_answer
from dispatcher.protocol.http2.connection import Answered, Failed
from dispatcher.protocol.http2.headers import Header

RESENDS = 5
"""How often messages of a batch that the server did not process go to another connection, before that is their
answer: a server that refuses every stream must not be asked for ever."""


class Call:
    """The messages of one batch.

    Args:
        headers: of each of its requests.
        bodies: one a message.
        at_once: requests that may be under way at a time.

    Attributes:
        waiting: numbers of messages that are not on a connection.
        active: requests under way.
        done: set when every message has its response.
        responses: one a message.
        took: seconds that each request took, by HTTP status; 0: no answer.
    """

    def __init__(self, headers: tuple[Header, ...], bodies: list[bytes], at_once: int) -> None:
        self.headers = headers
        self.bodies = bodies
        self.at_once = max(1, at_once)
        self.waiting = deque(range(len(bodies)))
        self.active = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.responses: list[SendResponse] = [_UNSENT] * len(bodies)
        self.took: dict[int, list[float]] = {}
        self._left = len(bodies)
        self._resends: dict[int, int] = {}

    @property
    def eager(self) -> bool:
        """Whether it has a message to start now."""
        return bool(self.waiting) and self.active < self.at_once

    def answered(self, number: int, answer: Answered, took_s: float) -> None:
        """The answer to one message."""
        retry_after = date = None
        for name, value in answer.headers:
            if name == b"retry-after":
                retry_after = value.decode("latin-1")
            elif name == b"date":
                date = value.decode("latin-1")
        self._end(number, read_answer(answer.status, retry_after, date, answer.body), answer.status, took_s)

    def failed(self, number: int, failure: Failed, took_s: float) -> None:
        """One message got no answer; what the server did not process goes out again."""
        if failure.fate is Fate.NOT_SENT and not self.done.done():
            tries = self._resends[number] = self._resends.get(number, 0) + 1
            if tries <= RESENDS:
                self.active -= 1
                self.waiting.append(number)
                return
        error = SendError(failure.fate, reason=failure.reason)
        self._end(number, SendResponse(error=error), 0, took_s)

    def expire(self, reason: str) -> None:
        """Nobody waits any longer: what is not answered is unsent or of unknown fate."""
        unsent = set(self.waiting)
        self.waiting.clear()
        for number, response in enumerate(self.responses):
            if response is _UNSENT:
                fate = Fate.NOT_SENT if number in unsent else Fate.UNKNOWN
                self.responses[number] = SendResponse(error=SendError(fate, reason=reason))
        self._left = 0
        if not self.done.done():
            self.done.set_result(None)

    def refuse_waiting(self, reason: str) -> None:
        """There is no connection to be had: what is not out yet stays unsent."""
        while self.waiting:
            number = self.waiting.popleft()
            self.active += 1
            self._end(number, SendResponse(error=SendError(Fate.NOT_SENT, reason=reason)), 0, 0.0)

    def _end(self, number: int, response: SendResponse, status: int, took_s: float) -> None:
        self.active -= 1
        if self.done.done():
            return
        self.responses[number] = response
        durations = self.took.get(status)
        if durations is None:
            durations = self.took[status] = []
        durations.append(took_s)
        self._left -= 1
        if self._left == 0:
            self.done.set_result(None)


_UNSENT = SendResponse()
