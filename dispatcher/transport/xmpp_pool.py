"""The XMPP connections of one project: opened one after the other, kept open, replaced when they drain or break.

They are kept open while there is nothing to send: devices' own messages come over them. One task opens them; one timer
looks after them; a batch is one `Call`, and no message has a task, future or timer of its own.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from dispatcher.model import Fate, SendError
from dispatcher.policy.reconnect import Reconnect
from dispatcher.protocol.xmpp import Incoming
from dispatcher.transport.xmpp_call import Call
from dispatcher.transport.xmpp_link import Link

if TYPE_CHECKING:
    from dispatcher.transport.xmpp_client import Account

OPEN_EVERY_S = 0.1
"""Between two connections that are opened, and half as much again by chance: none shall see a herd of us."""

LOOK_EVERY_S = 0.5
"""Between two looks at the clock."""

PROBE_S = 60.0
"""A key that was refused is tried again at the earliest after this, and only if there is something to send."""

REPLACED_WITHIN_S = 10.0
"""In this time as many drained connections are replaced at once as there may be connections; further ones wait."""

GOODBYE_S = 1.0
"""At the end of the worker, for connections to be closed in good order."""


class Arrived(msgspec.Struct, gc=False):
    """What came by itself, and over which connection: it is to be acknowledged there."""

    link: Link
    incoming: Incoming


class Dial(msgspec.Struct, frozen=True):
    """How a connection is made.

    Attributes:
        account: who logs in, and where.
        tls: what it is encrypted with.
        timeout_s: for connecting and logging in.
    """

    account: Account
    tls: ssl.SSLContext
    timeout_s: float


class Pool:
    """The connections; to be closed with `aclose`.

    Args:
        dial: how one is made.
        size: how many there are to be.

    Attributes:
        opened: connections that were opened, for figures.
        attempts: attempts to open one.
    """

    def __init__(self, dial: Dial, size: int) -> None:
        self._dial = dial
        self._size = size
        self._key = ""
        self._refused_at: float | None = None
        self._reconnect = Reconnect()
        self._links: list[Link] = []
        self._calls: deque[Call] = deque()
        self._running: set[Call] = set()
        self._arrived: list[Arrived] = []
        self._arrival = asyncio.Event()
        # Drained connections that are owed a successor at once, and when such were opened.
        self._owed = 0
        self._replaced: deque[float] = deque()
        self._opener: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._watch: asyncio.TimerHandle | None = None
        self._cut_off = False
        self._last_failure = ""
        self.opened = 0
        self.attempts = 0

    def use(self, key: str) -> None:
        """Log in with this key from now on, and be connected; connections that stand stay."""
        if self._cut_off:
            return
        if key != self._key:
            self._key, self._refused_at = key, None
        if self._opener is None:
            self._opener = asyncio.get_running_loop().create_task(self._open_wanted(), name="xmpp connect")
            self._look()
        self._wanted.set()

    async def aclose(self) -> None:
        """Close the connections; batches under way end as at `cut_off`."""
        self.cut_off()
        if self._opener is not None:
            self._opener.cancel()
            await asyncio.wait([self._opener])
        if self._watch is not None:
            self._watch.cancel()
        links = list(self._links)
        for link in links:
            link.close("the worker is stopping")
        if links:
            endings = [link.over for link in links]
            await asyncio.wait(endings, timeout=GOODBYE_S)
            for link in links:
                if link.client is not None:
                    link.client.cut("the worker is stopping")
            await asyncio.wait(endings, timeout=GOODBYE_S)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._links)

    def cut_off(self) -> None:
        """Stop waiting for answers, now and for good: the end of a drain."""
        self._cut_off = True
        for link in list(self._links):
            link.give_up("no answer: the worker stopped")
        self._refuse(SendError(Fate.NOT_SENT, reason="the worker is stopping", wire="xmpp"))

    async def carry(self, call: Call, key: str) -> None:
        """Send a batch; returns when every message of it has its response."""
        loop = asyncio.get_running_loop()
        if self._cut_off:
            call.refuse_waiting(SendError(Fate.NOT_SENT, reason="the worker is stopping", wire="xmpp"))
            return
        self.use(key)
        if self._refused_at is not None:
            if loop.time() < self._refused_at + PROBE_S:
                call.refuse_waiting(_unauthorized(self._last_failure))
                return
            self._refused_at = None
            self._wanted.set()
        self._running.add(call)
        self._calls.append(call)
        try:
            self.changed()
            await call.done
        finally:
            self._running.discard(call)
            if call.waiting:
                call.waiting.clear()

    async def arrived(self) -> list[Arrived]:
        """What came by itself since the last time; waits for the first."""
        await self._arrival.wait()
        self._arrival.clear()
        found, self._arrived = self._arrived, []
        return found

    # What connections tell.

    def came(self, link: Link, incoming: list[Incoming]) -> None:
        """See `xmpp_link.Pool`."""
        self._arrived += [Arrived(link, one) for one in incoming]
        self._arrival.set()

    def changed(self) -> None:
        """See `xmpp_link.Pool`: start what there is room for."""
        if not self._calls or self._cut_off:
            return
        now = asyncio.get_running_loop().time()
        for link in sorted(self._links, key=_busy) if len(self._links) > 1 else self._links:
            while link.room and (call := self._next_call()) is not None:
                if call.may_send():
                    link.send(call, min(link.room, call.room), now)
                else:
                    reason = "not sent: the lease ran out"
                    call.refuse_waiting(SendError(Fate.NOT_SENT, reason=reason, wire="xmpp"))

    def drained(self, link: Link) -> None:  # noqa: ARG002 - one is like the other
        """See `xmpp_link.Pool`: a successor at once, unless this happens over and over."""
        now = asyncio.get_running_loop().time()
        while self._replaced and self._replaced[0] <= now - REPLACED_WITHIN_S:
            self._replaced.popleft()
        if len(self._replaced) < self._size:
            self._replaced.append(now)
            self._owed += 1
        else:
            self._last_failure = "the server drains every connection"
            self._reconnect.failed(now, random.random())  # noqa: S311 - spreads load
        self._wanted.set()

    def lost(self, link: Link) -> None:
        """See `xmpp_link.Pool`."""
        now = asyncio.get_running_loop().time()
        if link in self._links:
            self._links.remove(link)
            if not link.drained:
                self._last_failure = link.why
                self._reconnect.lost(link.opened_at, now, random.random())  # noqa: S311 - spreads load
        self._wanted.set()

    # The task that opens, and the timer that looks.

    async def _open_wanted(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            if not self._wants_more():
                await self._wanted.wait()
                continue
            if self._owed:
                self._owed -= 1
            elif (rest_s := self._reconnect.wait(loop.time())) > 0:
                await _first_of(self._wanted.wait, rest_s)
                continue
            await self._open()
            await asyncio.sleep(OPEN_EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load

    def _wants_more(self) -> bool:
        if self._refused_at is not None:
            return False
        # Those that drain do not count, but a server that drains each at once must not make us pile them up.
        usable = sum(not link.retired for link in self._links)
        return usable < self._size and len(self._links) < 2 * self._size

    async def _open(self) -> None:
        """Open one connection, or learn that it cannot be."""
        from dispatcher.transport.xmpp_client import LoginRefused, connect  # noqa: PLC0415 - its extra is needed first

        loop = asyncio.get_running_loop()
        dial, key = self._dial, self._key
        link = Link(self)
        self.attempts += 1
        try:
            link.client = await connect(
                dial.account,
                key,
                dial.tls,
                dial.timeout_s,
                on_messages=link.heard,
                on_end=link.ended,
            )
        except LoginRefused as error:
            self._last_failure = str(error)
            if key == self._key:
                self._refused_at = loop.time()
                self._refuse(_unauthorized(self._last_failure))
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it is one attempt that failed
            self._last_failure = f"{type(error).__name__} {error}".strip().replace("\n", " ")[:200]
            self._reconnect.failed(loop.time(), random.random())  # noqa: S311 - spreads load
            return
        link.opened_at = loop.time()
        self.opened += 1
        if not link.gone:
            self._links.append(link)
            link.client.start()
            self.changed()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for link in list(self._links):
            link.look(now)
            self._reconnect.held(link.opened_at, now)
        for call in list(self._running):
            if call.waiting and call.waits_since + call.timeout_s <= now:
                why = self._last_failure if not self._links else "every connection is full"
                reason = f"not sent within {call.timeout_s:g} s: {why or 'no connection'}"
                call.refuse_waiting(SendError(Fate.NOT_SENT, reason=reason, wire="xmpp"))
        self.changed()
        self._watch = loop.call_later(LOOK_EVERY_S, self._look)

    def _refuse(self, error: SendError) -> None:
        for call in list(self._running):
            call.refuse_waiting(error)

    def _next_call(self) -> Call | None:
        """The oldest call with something to start."""
        while self._calls:
            call = self._calls[0]
            if call.room > 0:
                return call
            if not call.done.done():
                # Held by its own limit, or it may have something to start again: the next one may go ahead of it.
                return next((other for other in self._calls if other.room > 0), None)
            self._calls.popleft()
        return None


def _busy(link: Link) -> int:
    return link.busy


def _unauthorized(reason: str) -> SendError:
    """Nothing can be sent with this key (error table: not authenticated)."""
    return SendError(
        Fate.NOT_SENT,
        401,
        whole_request=True,
        reason=f"XMPP login: {reason}",
        wire="xmpp",
        word="AUTHENTICATION_FAILED",
    )


async def _first_of(wait: Callable[[], Awaitable[object]], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await wait()
    except TimeoutError:
        pass
