"""One HTTP/2 connection on a socket: bytes between asyncio and the protocol core, and signs of life."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from dispatcher.protocol.http2.connection import Answered, Closed, Connection, Failed
from dispatcher.protocol.http2.headers import Header
from dispatcher.transport.http2_call import Call

SILENCE_S = 5.0
"""With requests under way and nothing heard for so long, the server is asked for a sign of life; after as long again
the connection is given up: a half-open one would otherwise hold 100 messages until their timeout."""

READ_SIZE = 65_536
"""Bytes read at once, into one buffer: without it every TLS record costs a fresh block of 256 KB."""

AGE_S = 3600.0
"""A connection takes no new requests after this, so that load spreads over addresses that are new in DNS."""

IDLE_S = 240.0
"""An unused connection is closed, before the middleboxes on its way forget it."""


class Link(asyncio.BufferedProtocol):
    """One connection.

    Args:
        headers: request headers, the same for every request until `headers` is set anew.
        changed: called when there is room again or the link is gone.

    Attributes:
        headers: what the next requests carry; a new tuple when they change.
        gone: closed or closing; to be dropped from the pool.
        http11: the server asks for HTTP/1.1.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.gone = False
        self.http11 = False
        self._changed = changed
        self._core = Connection()
        self._calls: dict[int, tuple[Call, int, float]] = {}
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._view = memoryview(bytearray(READ_SIZE))
        self._loop = asyncio.get_running_loop()
        self._born = self._heard = self._used = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None

    @property
    def room(self) -> int:
        """Requests that may be started now."""
        if self.gone or not self._writable or self._loop.time() - self._born > AGE_S:
            return 0
        return self._core.room

    @property
    def busy(self) -> int:
        """Requests under way."""
        return len(self._calls)

    def start(self, headers: tuple[Header, ...], call: Call, number: int, body: bytes, now: float) -> None:
        """Start the request of one message; `flush` sends it."""
        self._calls[self._core.request(headers, body)] = (call, number, now)

    def flush(self) -> None:
        """Write what is to be sent: once for all that was started."""
        if self._transport is not None and (data := self._core.take()):
            self._transport.write(data)
            self._used = self._loop.time()

    def abandon(self, call: Call) -> None:
        """Give up what is under way for a call."""
        for stream in [stream for stream, (other, _, _) in self._calls.items() if other is call]:
            del self._calls[stream]
            self._core.cancel(stream)
        self.flush()

    def close(self) -> None:
        """Say goodbye and hang up."""
        self.gone = True
        if self._watch is not None:
            self._watch.cancel()
        self._core.close()
        self.flush()
        if self._transport is not None:
            self._transport.close()

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own classes have another base
        self.flush()
        self._watch = self._loop.call_later(SILENCE_S, self._look)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - it is always the same
        """Where to put what comes."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came; many answers at once, mostly."""
        now = self._heard = self._loop.time()
        self._handle(self._core.receive(bytes(self._view[:nbytes])), now)
        self.flush()
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self.gone = True
        if self._watch is not None:
            self._watch.cancel()
        reason = (
            f"the connection was lost: {type(exc).__name__} {exc}".strip() if exc else "the server hung up"
        )
        self._handle(self._core.lost(reason), self._loop.time())
        self._changed()

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """It is not any more."""
        self._writable = True
        self._changed()

    def _handle(self, events: list[Answered | Failed | Closed], now: float) -> None:
        calls = self._calls
        for event in events:
            if type(event) is Answered:
                found = calls.pop(event.stream, None)
                if found is not None:
                    found[0].answered(found[1], event, now - found[2])
            elif type(event) is Failed:
                found = calls.pop(event.stream, None)
                if found is not None:
                    found[0].failed(found[1], event, now - found[2])
            elif type(event) is Closed:
                self.gone = True
                self.http11 = event.http11
                self.flush()
                if self._transport is not None:
                    self._transport.close()

    def _look(self) -> None:
        """Every few seconds: is it alive, and of use?"""
        now = self._loop.time()
        if self._calls and now - self._heard >= SILENCE_S:
            if self._core.unanswered_pings:
                self.gone = True
                self._handle(self._core.lost(f"no sign of life for {now - self._heard:.0f} s"), now)
                if self._transport is not None:
                    self._transport.abort()
                self._changed()
                return
            self._core.ping()
            self.flush()
        elif not self._calls and (now - self._used > IDLE_S or now - self._born > AGE_S):
            self.close()
            self._changed()
            return
        self._watch = self._loop.call_later(SILENCE_S, self._look)
