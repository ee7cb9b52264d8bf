"""One connection of a pool: what is under way on it, whose answer is whose, and when it is given up."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Protocol

import msgspec

from dispatcher.model import Fate, SendError, SendResponse
from dispatcher.protocol.xml_stream import Element
from dispatcher.protocol.xmpp import (
    DRAINING,
    Ack,
    Control,
    Incoming,
    Nack,
    Strange,
    acknowledgement,
    answer_of,
    read_message,
)
from dispatcher.transport.xmpp_call import Call

if TYPE_CHECKING:
    from dispatcher.transport.xmpp_client import Client

MOST_PENDING = 100
"""Messages without an answer on one connection (XMPP wire rules, section 5); our own acks do not count."""

MOST_LOST = 20
"""Answers that never came, before a connection is replaced: what waits for them takes up its room for ever."""

MOST_OWED = 1000
"""Acks owed, before nothing more is read: servers stop at a hundred, and one that does not must not fill our memory."""

KEEP_ALIVE_S = 60.0
"""Of silence, before a space is written: middleboxes forget connections, and the system finds out that one is dead."""


class Under(msgspec.Struct, gc=False):
    """A message under way."""

    call: Call
    number: int
    since: float


class Pool(Protocol):
    """What a connection belongs to."""

    def came(self, link: Link, incoming: list[Incoming]) -> None:
        """Messages of devices, and receipts."""

    def changed(self) -> None:
        """There is room again, or something to send again."""

    def drained(self, link: Link) -> None:
        """The server takes nothing more on this connection."""

    def lost(self, link: Link) -> None:
        """The connection has ended."""


class Link:
    """One connection.

    Args:
        pool: its owner.

    Attributes:
        client: the connection itself; set once it stands.
        opened_at: when it stood, loop clock.
        retired: it takes no new messages.
        drained: because the server asked for it, or too many of its answers never came.
        gone: it has ended.
        why: why it has ended.
        over: set when it has.
        strays: answers to nothing that we know of.
        bad_acks: acks of ours that the server could not read.
    """

    def __init__(self, pool: Pool) -> None:
        self.client: Client | None = None
        self.opened_at = 0.0
        self.retired = False
        self.drained = False
        self.gone = False
        self.why = ""
        self.strays = 0
        self.bad_acks = 0
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._under: dict[str, Under] = {}
        # Given up, and perhaps still to be answered: to the server they are under way.
        self._lost: Counter[str] = Counter()
        self._owed = 0
        self._paused = False
        self._heard_at = self._wrote_at = self._loop.time()

    @property
    def busy(self) -> int:
        """Messages that the server has not answered."""
        return len(self._under) + self._lost.total()

    @property
    def room(self) -> int:
        """Messages that may be written now."""
        return 0 if self.retired or self.gone or self.client is None else max(0, MOST_PENDING - self.busy)

    def send(self, call: Call, count: int, now: float) -> None:
        """Write the next `count` messages of a call, in one piece."""
        stanzas: list[bytes] = []
        for _ in range(count):
            number = call.take(now)
            letter = call.letters[number]
            if letter is not None:
                self._under[letter.message_id] = Under(call, number, now)
                stanzas.append(letter.stanza)
        self._write(b"".join(stanzas))

    def acknowledge(self, incoming: list[Incoming]) -> None:
        """What came on this connection is kept for good. Without room too: acks are exempt."""
        if self.gone:
            return  # it comes again, on another one
        self._owed -= len(incoming)
        self._write(b"".join([acknowledgement(one.sender, one.message_id) for one in incoming]))
        if self._paused and self._owed < MOST_OWED and self.client is not None:
            self._paused = False
            self.client.resume()
        self._close_if_done()

    def heard(self, messages: list[Element]) -> None:
        """Messages came, all of one piece of data."""
        now = self._heard_at = self._loop.time()
        incoming: list[Incoming] = []
        for element in messages:
            received = read_message(element)
            match received:
                case Ack() | Nack():
                    self._answer(received, now)
                case Incoming():
                    incoming.append(received)
                case Control(type=kind) if kind == DRAINING:
                    self.retire()
                case Control() | Strange():
                    self.strays += 1
        if incoming:
            self._owed += len(incoming)
            if self._owed >= MOST_OWED and not self._paused and self.client is not None:
                self._paused = True
                self.client.pause()
            self._pool.came(self, incoming)
        self._close_if_done()
        self._pool.changed()

    def ended(self, why: str) -> None:
        """The connection is gone: what became of all that is under way on it, nobody knows."""
        if self.gone:
            return
        self.gone = self.retired = True
        self.why = why
        self.give_up(f"the connection was lost before the answer: {why}")
        self.over.set_result(None)
        self._pool.lost(self)

    def retire(self) -> None:
        """The server asked for it: nothing new, until what is under way is answered."""
        if not self.retired:
            self.retired = self.drained = True
            self._pool.drained(self)

    def close(self, why: str) -> None:
        """End the connection."""
        if self.client is not None and not self.gone:
            self.client.end(why)

    def look(self, now: float) -> None:
        """The clock has gone on: give up what has waited too long, and the connection if nothing comes at all."""
        late = [name for name, under in self._under.items() if under.since + under.call.timeout_s <= now]
        if late and self.client is not None:
            if all(self._heard_at <= self._under[name].since for name in late):
                self.client.cut("no sign of life for as long as an answer may take")
                return
            self._drop(late, "no answer in time, while others were answered")
            if self._lost.total() >= MOST_LOST:
                self.retire()
            self._close_if_done()
        elif now - self._wrote_at >= KEEP_ALIVE_S:
            self._write(b" ")

    def give_up(self, reason: str) -> None:
        """Wait for no answer any more."""
        self._drop(list(self._under), reason)

    def _drop(self, names: list[str], reason: str) -> None:
        now = self._loop.time()
        for name in names:
            under = self._under.pop(name)
            self._lost[name] += 1
            error = SendError(Fate.UNKNOWN, reason=reason, wire="xmpp")
            under.call.answered(under.number, SendResponse(error=error), now - under.since)

    def _answer(self, received: Ack | Nack, now: float) -> None:
        message_id, under = self._find(received)
        if under is None:
            if isinstance(received, Nack) and received.word == "BAD_ACK":
                self.bad_acks += 1
            elif self._lost[message_id] > 0:
                self._lost[message_id] -= 1
            else:
                self.strays += 1
            return
        del self._under[message_id]
        if isinstance(received, Nack) and received.word == DRAINING:
            under.call.returned(under.number)
            self.retire()
            return
        under.call.answered(under.number, answer_of(received, message_id), now - under.since)

    def _find(self, received: Ack | Nack) -> tuple[str, Under | None]:
        """Whose answer it is: by its id; a partial one for a group by its sender; a topic's, if it is the only one."""
        under = self._under.get(received.message_id)
        if under is not None:
            return received.message_id, under
        if received.message_id and received.sender:
            return received.message_id, None
        matches = []
        for message_id, under in self._under.items():
            letter = under.call.letters[under.number]
            if letter is not None and (
                letter.address == received.sender if received.sender else letter.broadcast
            ):
                if received.sender:
                    return message_id, under  # the oldest
                matches.append((message_id, under))
        return matches[0] if len(matches) == 1 else (received.message_id, None)

    def _close_if_done(self) -> None:
        if self.retired and not self.gone and not self._under and not self._owed:
            self.close("drained")

    def _write(self, data: bytes) -> None:
        if self.client is not None and data:
            self._wrote_at = self._loop.time()
            self.client.write(data)
