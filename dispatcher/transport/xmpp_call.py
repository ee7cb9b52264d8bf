"""One batch on its way over XMPP: what waits, what is under way, what has been answered."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from dispatcher.model import Fate, SendError, SendResponse
from dispatcher.transport.wire import MaySend


class Letter(msgspec.Struct, gc=False):
    """One message.

    Attributes:
        message_id: the name that its answer calls it by.
        address: whom the answer says that it is from, as far as it says so.
        stanza: what is written.
        broadcast: a topic or condition: its answer may not name it at all.
    """

    message_id: str
    address: str
    stanza: bytes
    broadcast: bool = False


class Call:
    """One batch.

    Args:
        letters: its messages; None: that one has its response already.
        responses: one a message, to be filled in.
        at_once: messages that may be under way at a time.
        timeout_s: for an answer, and for the wait for a connection.
        now: loop clock.
        may_send: see `Transport.send`.

    Attributes:
        waiting: numbers of messages that have not left, in order.
        done: set when every message has its response.
        waits_since: when the last one left; before that, when the call came.
        took: seconds until the answer, by status, for the metrics.
    """

    def __init__(
        self,
        letters: list[Letter | None],
        responses: list[SendResponse],
        at_once: int,
        timeout_s: float,
        now: float,
        may_send: MaySend,
    ) -> None:
        self.letters = letters
        self.responses = responses
        self.timeout_s = timeout_s
        self.may_send = may_send
        self.waiting = deque(number for number, letter in enumerate(letters) if letter is not None)
        self.waits_since = now
        self.took: dict[int, list[float]] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._at_once = max(1, at_once)
        self._left = len(self.waiting)
        self._under_way = 0
        if not self._left:
            self.done.set_result(None)

    @property
    def room(self) -> int:
        """Messages that may leave now."""
        return min(len(self.waiting), self._at_once - self._under_way)

    def take(self, now: float) -> int:
        """The number of the next message, which leaves now."""
        self._under_way += 1
        self.waits_since = now
        return self.waiting.popleft()

    def answered(self, number: int, response: SendResponse, took_s: float) -> None:
        """This is what became of a message that was under way."""
        error = response.error
        status = 200 if error is None else 0 if error.fate is not Fate.ANSWERED else error.http_status or 400
        self.took.setdefault(status, []).append(took_s)
        self._under_way -= 1
        self._settle(number, response)

    def returned(self, number: int) -> None:
        """The server would not have a message on that connection: it leaves again before all others."""
        self._under_way -= 1
        self.waiting.appendleft(number)

    def refuse_waiting(self, error: SendError) -> None:
        """None of those that have not left will leave."""
        response = SendResponse(error=error)
        while self.waiting:
            self._settle(self.waiting.popleft(), response)

    def _settle(self, number: int, response: SendResponse) -> None:
        self.responses[number] = response
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)
