"""The HTTP/2 connections to one place: many requests at once on a few pooled TLS connections, chosen by ALPN.

A batch is one `Call`: no task, future or timer for a message. Messages go to the connections with room; while there is
more to send than room, connections that have rested are asked whether they are still there, and a new one is opened, one
at a time, up to the limit. All projects with an equal way out share them, and none takes all of their streams: what is
slow must not keep the rest waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from dispatcher.policy.concurrency import share_of
from dispatcher.transport.http2_call import Call
from dispatcher.transport.http2_connect import Http11Only, Place, connect
from dispatcher.transport.http2_link import Link, Patience

OPEN_EVERY_S = 0.05
"""Connections are opened one after the other: a herd of handshakes would be the server's first impression of us."""

REST_S = 1.0
"""After a failed attempt to connect while there are connections, before the next."""

MOST_WRITTEN = 65_536
"""Bytes of messages that a connection is given at once: TLS keeps as much memory as its largest piece took."""

GOODBYE_S = 1.0
"""At the end of the worker, for connections to be closed in good order."""

HTTP11_FOR_S = 600.0
"""How long it is believed that a server has no HTTP/2; then it is asked again, beside what goes over HTTP/1.1."""


class Http2Pool:
    """HTTP/2 connections to one place; to be closed with `aclose`.

    Args:
        place: where they lead.
        most_links: asked how many connections there may be at a time.
        only: nothing but HTTP/2 will do: without it, messages are not sent.
        patience: limits of each connection.

    Attributes:
        opened: connections that were opened, for figures.
    """

    def __init__(
        self,
        place: Place,
        most_links: Callable[[], int],
        *,
        only: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._place = place
        self._only = only
        self._patience = patience or Patience()
        self._most_links = most_links
        self._links: list[Link] = []
        # Said goodbye, their sockets not closed yet.
        self._ending: list[Link] = []
        # All batches under way, the oldest first; a dict for its order.
        self._running: dict[Call, None] = {}
        self._opening: asyncio.Task[None] | None = None
        # Streams of open connections that nobody uses, and what each project uses; by its headers, which are its own.
        self._left = 0
        self._used: Counter[int] = Counter()
        # Whether the server has no HTTP/2, and the timer that asks it again.
        self._http11 = False
        self._asking: asyncio.TimerHandle | None = None
        self._cut_off = False
        self.opened = 0

    async def aclose(self) -> None:
        """Close the connections; batches under way end as at `cut_off`."""
        self.cut_off()
        if self._asking is not None:
            self._asking.cancel()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        for link in self._links:
            link.close("the worker is stopping")
        self._drop_gone()
        endings = [link.ended for link in self._ending]
        if endings:
            await asyncio.wait(endings, timeout=GOODBYE_S)
            for link in self._ending:
                link.abort("the worker is stopping")
            await asyncio.wait(endings)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._links)

    def lacks_http2(self) -> bool:
        """The server has no HTTP/2, as far as is known, and another way will do."""
        return self._http11

    def cut_off(self) -> None:
        """Stop waiting for answers, now and for good: the end of a drain.

        Each message under way gets its own fate, and every later one is not sent.
        """
        self._cut_off = True
        now = asyncio.get_running_loop().time()
        for call in list(self._running):
            self._expire(call, now, "no answer: the worker stopped", now)
            call.refuse_waiting("the worker is stopping")

    async def run(self, call: Call, timeout_s: float) -> None:
        """Send the messages of a batch, as far as that can be done; each has its response then.

        Args:
            call: nothing of it has left yet.
            timeout_s: for each request, and for the wait for a connection.
        """
        if self._cut_off:
            call.refuse_waiting("the worker is stopping")
            return
        loop = asyncio.get_running_loop()
        self._running[call] = None
        try:
            self._pump()
            await self._wait(call, timeout_s)
        finally:
            # If it is not done, nobody waits for it any more.
            del self._running[call]
            if not call.done.done():
                call.refuse_waiting("cancelled")
                self._expire(call, loop.time(), "cancelled", loop.time())
                self._pump()

    async def _wait(self, call: Call, timeout_s: float) -> None:
        """Until every message has its response; each request has as long, and so has the wait for a connection."""
        loop = asyncio.get_running_loop()
        while not call.done.done():
            await asyncio.wait((call.done,), timeout=max(0.0, call.waits_since + timeout_s - loop.time()))
            now = loop.time()
            if not call.done.done() and call.waits_since + timeout_s <= now:
                self._expire(call, now - timeout_s, f"no answer within {timeout_s:g} s", now)
                self._pump()

    def _expire(self, call: Call, before: float, reason: str, now: float) -> None:
        call.expire(before, reason, now)
        for link in self._links:
            link.flush()

    def _pump(self) -> None:
        """Start what there is room for; open a connection if there is not enough."""
        if self._cut_off:
            return
        now = asyncio.get_running_loop().time()
        if any(link.retired for link in self._links):
            if any(link.http11 for link in self._links):
                self._no_http2()
            self._drop_gone()
        if not self._running:
            return
        working = [link for link in self._links if not link.retired]
        self._left = sum(link.streams - link.busy for link in working)
        self._used.clear()
        for call in self._running:
            self._used[id(call.headers)] += call.under_way
        for link in sorted(working, key=_busy):
            if not self._fill(link, now):
                break
        wanted = sum(call.room for call in self._running)
        if wanted > 0:
            self._make_room(wanted)

    def _make_room(self, wanted: int) -> None:
        """Wake as many connections as it takes; open another one if those are not enough."""
        if self._next_call() is not None:
            for link in self._links:
                wanted -= link.wake()
                if wanted <= 0:
                    return
        self._open_another()

    def _drop_gone(self) -> None:
        self._ending = [link for link in [*self._ending, *self._links] if link.gone and not link.ended.done()]
        self._links = [link for link in self._links if not link.gone]

    def _fill(self, link: Link, now: float) -> bool:
        """Start on a connection what it has room for; whether there may be more to start."""
        room, unwritten = link.room, 0
        call: Call | None = None
        while room and (call := self._next_call()) is not None:
            if not call.may_send():
                # Once for all that leave with this flush.
                call.refuse_waiting("not sent: the lease ran out")
                continue
            for _ in range(min(room, self._room_of(call))):
                number = call.waiting.popleft()
                body = call.bodies[number]
                link.start(call.headers, call, number, body, now)
                room -= 1
                self._left -= 1
                self._used[id(call.headers)] += 1
                unwritten += len(body)
                if unwritten >= MOST_WRITTEN:
                    link.flush()
                    room, unwritten = min(room, link.room), 0
                    break
        link.flush()
        return not room or call is not None

    def _next_call(self) -> Call | None:
        """The oldest call with something that may be started now."""
        return next((call for call in self._running if self._room_of(call)), None)

    def _room_of(self, call: Call) -> int:
        """Messages of a batch that may be started now: its project leaves streams for the others."""
        room = call.room
        if room <= 0:
            return 0
        used = self._used[id(call.headers)]
        return max(0, min(room, max(1, share_of(self._left + used)) - used))

    def _open_another(self) -> None:
        if self._opening is not None or len(self._links) >= 2 * self._most_links():
            return
        # Those that end do not count, lest nothing moves until they have; but a server that ends each at once
        # must not make us pile them up.
        if sum(not link.retired for link in self._links) < self._most_links():
            self._start_opening()

    def _start_opening(self) -> None:
        self._opening = asyncio.get_running_loop().create_task(self._open(), name="http2 connect")

    async def _open(self) -> None:
        """Open one connection; if none is to be had at all, tell those who wait."""
        rest_s = OPEN_EVERY_S
        asking = self._http11  # what was begun before the server asked for HTTP/1.1 says nothing against it
        try:
            link = await connect(self._place, lambda: Link(self._pump, self._patience))
        except Http11Only:
            self._no_http2()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is one attempt that failed
            if all(link.retired for link in self._links):
                why = f"{type(error).__name__} {error}".strip().replace("\n", " ")[:200]
                self._refuse_waiting(f"not sent: {why}")
            else:
                rest_s = REST_S
            if self._http11:
                self._ask_later()
        else:
            if asking:
                self._http11 = False
            self.opened += 1
            self._links.append(link)
            self._pump()
        await asyncio.sleep(rest_s)
        self._opening = None
        self._pump()

    def _no_http2(self) -> None:
        if not self._only:
            self._http11 = True
            self._ask_later()
        self._refuse_waiting("not sent: the server does not speak HTTP/2")

    def _ask_later(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._asking = asyncio.get_running_loop().call_later(HTTP11_FOR_S, self._ask_again)

    def _ask_again(self) -> None:
        """Whether the server has HTTP/2 by now: a connection with nothing to do, used from then on."""
        if self._opening is not None:
            self._ask_later()
        elif not self._cut_off:
            self._start_opening()

    def _refuse_waiting(self, reason: str) -> None:
        for call in list(self._running):
            call.refuse_waiting(reason)


def _busy(link: Link) -> int:
    return link.busy
