"""One HTTP/2 connection on a socket: bytes between asyncio and the protocol core, and signs of life."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import cast

from dispatcher.model import Fate
from dispatcher.protocol.http2.connection import Connection
from dispatcher.protocol.http2.headers import Header
from dispatcher.protocol.http2.streams import Answered, Closed, Event, Failed
from dispatcher.transport.http2_call import Call

READ_SIZE = 65_536
"""Bytes read at once, into one buffer: without it every TLS record costs a fresh block of 256 KB."""

LOOK_EVERY_S = 0.5
"""Between two looks at the clock; a fifth of the shortest time below would do."""

PINGS = 2
"""Signs of life asked for between two answers, at most: gRPC's servers take a third ping without data for abuse
(`too_many_pings`), and an answer to a topic may take FCM 30 s."""

WAKES_WITHIN_S = 0.5
"""A connection that was asked before its next use is counted on for so long, before another is opened in its place: an
answer to a PING takes a round trip, a new connection three or more."""


class Patience:
    """How long a connection is borne with.

    Attributes:
        silence_s: with requests under way and nothing heard for so long, the server is asked for a sign of life;
            after as long again the connection is given up. A half-open one would otherwise hold its messages until
            their timeout, and take new ones.
        age_s: a connection takes no new requests after about this, so that load spreads over addresses that are
            new in DNS; servers close theirs after minutes to an hour (quota rules, section 6).
        idle_s: an unused connection is closed, before the middleboxes on its way forget it.
        rest_s: an unused connection on which nothing was heard for so long is asked for a sign of life before it is
            given messages again. One that died meanwhile would take them first, and leave them of unknown fate.
    """

    def __init__(
        self, silence_s: float = 5.0, age_s: float = 3600.0, idle_s: float = 240.0, rest_s: float = 10.0
    ) -> None:
        self.silence_s = silence_s
        self.rest_s = rest_s
        self.age_s = age_s
        self.idle_s = idle_s


class Link(asyncio.BufferedProtocol):
    """One connection.

    Args:
        changed: called when there is room again or the link is gone.
        patience: its limits.

    Attributes:
        ready: set to "" when the server has shown that it speaks HTTP/2, or to the reason why it never will.
        gone: closed or closing; to be dropped from the pool.
        ended: set when the socket is closed.
    """

    def __init__(self, changed: Callable[[], None], patience: Patience) -> None:
        self.gone = False
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[str] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._changed = changed
        self._patience = patience
        self._core = Connection()
        self._calls: dict[int, tuple[Call, int]] = {}
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._view = memoryview(bytearray(READ_SIZE))
        now = self._loop.time()
        self._heard = self._used = now
        # Connections that were opened together must not all grow old together.
        self._old_at = now + patience.age_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing
        self._pinged_at = 0.0
        self._pings = 0
        self._watch: asyncio.TimerHandle | None = None

    @property
    def room(self) -> int:
        """Requests that may be started now: none while a sign of life is awaited, or has to be asked for first."""
        if not self._writable or self._suspect or self.retired or self._rested:
            return 0
        return self._core.room

    @property
    def streams(self) -> int:
        """Requests that the server takes at a time."""
        return self._core.max_streams

    @property
    def _suspect(self) -> bool:
        """A sign of life was asked for, and nothing came since."""
        return self._core.unanswered_ping and self._pinged_at >= self._heard

    @property
    def _rested(self) -> bool:
        """Not heard of for so long that it may have died unnoticed: unused, or asked as often as it may be."""
        unsure = not self._calls or self._pings >= PINGS
        return unsure and self._loop.time() - self._heard > self._patience.rest_s

    @property
    def retired(self) -> bool:
        """Takes no new requests any more: another connection may take its place."""
        return self.gone or self._core.draining or self._loop.time() > self._old_at

    @property
    def http11(self) -> bool:
        """The server asks for HTTP/1.1."""
        return self._core.http11

    @property
    def busy(self) -> int:
        """Requests under way."""
        return len(self._calls)

    def wake(self) -> int:
        """Ask a connection that has rested whether it is still there: once a use.

        Returns:
            The requests that it will take if it is, as long as its answer is not late; 0: it did not have to be asked.
        """
        if self.retired or self._calls:
            return 0
        if self._suspect:
            in_time = self._loop.time() - self._pinged_at < WAKES_WITHIN_S
            return self._core.room if in_time else 0
        if not self._rested:
            return 0
        if self._pings >= PINGS:
            # Asked twice, and no request answered since: it may not be asked again, nor be trusted unasked.
            self.close("not used any more")
            return 0
        self._ask()
        return self._core.room

    def start(self, headers: tuple[Header, ...], call: Call, number: int, body: bytes, now: float) -> None:
        """Start the request of one message; `flush` sends it."""
        stream = self._core.request(headers, body)
        self._calls[stream] = (call, number)
        call.started(number, self, stream, now)

    def flush(self) -> None:
        """Write what is to be sent: once for all that was started."""
        if self._transport is not None and (data := self._core.take()):
            self._transport.write(data)

    def abandon(self, stream: int, reason: str) -> Answered | Failed:
        """Give a request up, and say what is known of it; `flush` tells the server."""
        self._calls.pop(stream, None)
        return self._core.cancel(stream, reason) or Failed(stream, Fate.UNKNOWN, reason)

    def close(self, reason: str = "closed") -> None:
        """Say goodbye and hang up; what is under way is of unknown fate."""
        self._handle(self._core.close(reason), self._loop.time())
        self._hang_up()

    def abort(self, reason: str) -> None:
        """Hang up at once: the other side is not there."""
        self._handle(self._core.lost(reason), self._loop.time())
        self._over()
        if self._transport is not None:
            self._transport.abort()

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the first `flush` is for whoever knows that the other side speaks HTTP/2."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own classes have another base
        self._watch = self._loop.call_later(LOOK_EVERY_S, self._look)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - it is always the same
        """Where to put what comes."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came; many answers at once, mostly."""
        now = self._heard = self._loop.time()
        if self._core.blocked:
            self._recall(now)
        self._handle(self._core.receive(bytes(self._view[:nbytes])), now)
        if self._core.closed:
            self._hang_up()
        else:
            if self._core.settled and not self.ready.done():
                self.ready.set_result("")
            self.flush()
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        reason = (
            f"the connection was lost: {type(exc).__name__} {exc}".strip() if exc else "the server hung up"
        )
        self._handle(self._core.lost(reason), self._loop.time())
        self._over()
        if not self.ended.done():
            self.ended.set_result(None)
        self._changed()

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """It is not any more."""
        self._writable = True
        self._changed()

    def _recall(self, now: float) -> None:
        """Take back what waits for a window, and must not leave if it opens now."""
        for stream in self._core.blocked:
            found = self._calls.get(stream)
            if found is not None and not found[0].may_send():
                call, number = found
                known = self.abandon(stream, "not sent: the lease ran out")
                if isinstance(known, Answered):
                    call.answered(number, known, now)
                else:
                    call.failed(number, known, now)

    def _handle(self, events: list[Event], now: float) -> None:
        calls = self._calls
        for event in events:
            if type(event) is Answered:
                self._pings = 0
                self._used = now
                found = calls.pop(event.stream, None)
                if found is not None:
                    found[0].answered(found[1], event, now)
            elif type(event) is Failed:
                self._used = now
                found = calls.pop(event.stream, None)
                if found is not None:
                    found[0].failed(found[1], event, now)
            elif type(event) is Closed and not self.ready.done():
                self.ready.set_result(event.reason)

    def _hang_up(self) -> None:
        self.flush()
        self._over()
        if self._transport is not None:
            self._transport.close()

    def _over(self) -> None:
        self.gone = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _ask(self) -> None:
        """Ask for a sign of life; there is no room until it comes."""
        self._pinged_at = self._loop.time()
        self._pings += 1
        self._core.ping()
        self.flush()

    def _look(self) -> None:
        """Twice a second: is it alive, and of use?"""
        now = self._loop.time()
        patience = self._patience
        if self._suspect:
            if now - self._pinged_at >= patience.silence_s:
                self.abort(f"no sign of life for {now - self._heard:.0f} s")
                self._changed()
                return
            if not self._calls:
                self._changed()  # who waits for it may want another one by now
        elif self._calls:
            if now - self._heard >= patience.silence_s and self._pings < PINGS:
                self._ask()
        elif self.retired or now - self._used > patience.idle_s:
            self.close("not used any more")
            self._changed()
            return
        self._watch = self._loop.call_later(LOOK_EVERY_S, self._look)
