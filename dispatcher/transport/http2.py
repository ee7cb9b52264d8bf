"""The `v1` wire over HTTP/2: many requests at once on a few pooled TLS connections, chosen by ALPN.

A batch is one `Call`: no task, future or timer for a message. Messages go to the connections with room; a new
connection is opened, one at a time, while there is more to send than room, up to the limit. Each project has a pool
of its own, so that a slow one takes nobody else's streams.
"""

from __future__ import annotations

import asyncio
from collections import deque
from urllib.parse import urlsplit

from dispatcher.model import Batch, SendResponse
from dispatcher.protocol.http2.connection import USUAL_STREAMS
from dispatcher.protocol.http2.headers import Header
from dispatcher.protocol.message import bodies
from dispatcher.transport.http2_call import Call
from dispatcher.transport.http2_connect import Http11Only, Place, connect
from dispatcher.transport.http2_link import Link, Patience
from dispatcher.transport.route import DIRECT, Route
from dispatcher.transport.wire import MaySend, Observe, Timeouts, alike, always, not_sent

OPEN_EVERY_S = 0.05
"""Connections are opened one after the other: a herd of handshakes would be the server's first impression of us."""

REST_S = 1.0
"""After a failed attempt to connect while there are connections, before the next."""

GOODBYE_S = 1.0
"""At the end of the worker, for connections to be closed in good order."""

HTTP11_FOR_S = 600.0
"""How long it is believed that a server has no HTTP/2."""


class Http2Transport:
    """`POST {endpoint}/v1/projects/{project}/messages:send` over HTTP/2; to be closed with `aclose`.

    Args:
        endpoint: base URL; `https://`, or `http://` for a server that speaks HTTP/2 without TLS.
        timeouts: how long an answer may take.
        observe: told of the requests of each batch.
        most_requests: requests of the project in flight at a time.
        route: the way out.
        only: nothing but HTTP/2 will do: without it, messages are not sent.
        patience: limits of each connection.

    Attributes:
        opened: connections that were opened, for figures.

    Raises:
        SettingsError: the route's CA file will not do.
    """

    name = "v1"

    def __init__(
        self,
        endpoint: str,
        timeouts: Timeouts,
        observe: Observe,
        *,
        most_requests: int,
        route: Route = DIRECT,
        only: bool = False,
        patience: Patience | None = None,
    ) -> None:
        url = urlsplit(endpoint)
        self._place = Place.of(endpoint, route, only_http2=only)
        self._scheme = url.scheme.encode()
        self._authority = url.netloc.encode()
        self._path = url.path.rstrip("/")
        self._timeouts = timeouts
        self._observe = observe
        self._only = only
        self._patience = patience or Patience()
        self._most_links = -(-most_requests // USUAL_STREAMS)
        self._links: list[Link] = []
        # Said goodbye, their sockets not closed yet.
        self._ending: list[Link] = []
        # All batches under way; those of them that have something to start, in order.
        self._running: set[Call] = set()
        self._calls: deque[Call] = deque()
        self._opening: asyncio.Task[None] | None = None
        self._headers: dict[tuple[str, str], tuple[Header, ...]] = {}
        self._http11_until = 0.0
        self._cut_off = False
        self.opened = 0

    async def aclose(self) -> None:
        """Close the connections; batches under way end as at `cut_off`."""
        self.cut_off()
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
        return not self._only and asyncio.get_running_loop().time() < self._http11_until

    def cut_off(self) -> None:
        """Stop waiting for answers, now and for good: the end of a drain.

        Each message under way gets its own fate, and every later one is not sent.
        """
        self._cut_off = True
        now = asyncio.get_running_loop().time()
        for call in list(self._running):
            self._expire(call, now, "no answer: the worker stopped", now)
            call.refuse_waiting("the worker is stopping")

    def requests(self, batch: Batch) -> int:
        """A request a message."""
        return batch.size

    async def send(
        self, batch: Batch, access_token: str, *, now: float, at_once: int, may_send: MaySend = always
    ) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`); nothing of it if the server has no HTTP/2."""
        if self._cut_off:
            return alike(batch.size, not_sent("the worker is stopping"))
        loop = asyncio.get_running_loop()
        contents = bodies(batch.jobs, now)
        headers = self._request_headers(batch.project, access_token)
        began = loop.time()
        call = Call(headers, contents, at_once, began, may_send)
        timeout_s = self._timeouts.of(batch)
        self._running.add(call)
        self._calls.append(call)
        try:
            self._pump()
            await self._wait(call, timeout_s)
        finally:
            # If it is not done, nobody waits for it any more.
            self._running.discard(call)
            if not call.done.done():
                call.refuse_waiting("cancelled")
                self._expire(call, loop.time(), "cancelled", loop.time())
        if call.refused and not self.lacks_http2():  # they go another way, and are told of there
            call.took.setdefault(0, []).extend([loop.time() - began] * call.refused)
        for status, durations in call.took.items():
            self._observe(self.name, status, durations)
        return call.responses

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

    def _request_headers(self, project: str, access_token: str) -> tuple[Header, ...]:
        """The same object for the same project and token: connections know it again."""
        key = (project, access_token)
        headers = self._headers.get(key)
        if headers is None:
            headers = (
                (b":method", b"POST"),
                (b":scheme", self._scheme),
                (b":authority", self._authority),
                (b":path", f"{self._path}/v1/projects/{project}/messages:send".encode()),
                (b"content-type", b"application/json"),
                *([(b"authorization", f"Bearer {access_token}".encode())] if access_token else []),
            )
            self._headers = {key: headers}  # the last token's are of no more use
        return headers

    def _pump(self) -> None:
        """Start what there is room for; open a connection if there is not enough."""
        if self._cut_off:
            return
        now = asyncio.get_running_loop().time()
        if any(link.retired for link in self._links):
            if any(link.http11 for link in self._links):
                self._no_http2()
            self._drop_gone()
        if self._calls:
            for link in sorted(self._links, key=_busy) if len(self._links) > 1 else self._links:
                self._fill(link, now)
            if self._next_call() is not None:
                self._open_another()

    def _drop_gone(self) -> None:
        self._ending = [link for link in [*self._ending, *self._links] if link.gone and not link.ended.done()]
        self._links = [link for link in self._links if not link.gone]

    def _fill(self, link: Link, now: float) -> None:
        room = link.room
        if not room:
            return
        while room and (call := self._next_call()) is not None:
            if not call.may_send():
                # Once for all that leave with this flush.
                call.refuse_waiting("not sent: the lease ran out")
                continue
            count = min(room, call.room)
            for _ in range(count):
                number = call.waiting.popleft()
                link.start(call.headers, call, number, call.bodies[number], now)
            room -= count
        link.flush()

    def _next_call(self) -> Call | None:
        """The oldest call with something to start."""
        while self._calls:
            call = self._calls[0]
            if call.room:
                return call
            if not call.done.done():
                # Held by its own limit, or it may have something to start again: the next one may go ahead of it.
                return next((other for other in self._calls if other.room), None)
            self._calls.popleft()
        return None

    def _open_another(self) -> None:
        if self._opening is not None or len(self._links) >= 2 * self._most_links:
            return
        # Those that end do not count, lest nothing moves until they have; but a server that ends each at once
        # must not make us pile them up.
        if sum(not link.retired for link in self._links) < self._most_links:
            self._opening = asyncio.get_running_loop().create_task(self._open(), name="http2 connect")

    async def _open(self) -> None:
        """Open one connection; if none is to be had at all, tell those who wait."""
        rest_s = OPEN_EVERY_S
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
        else:
            self.opened += 1
            self._links.append(link)
            self._pump()
        await asyncio.sleep(rest_s)
        self._opening = None
        self._pump()

    def _no_http2(self) -> None:
        self._http11_until = asyncio.get_running_loop().time() + HTTP11_FOR_S
        self._refuse_waiting("not sent: the server does not speak HTTP/2")

    def _refuse_waiting(self, reason: str) -> None:
        for call in list(self._running):
            call.refuse_waiting(reason)


def _busy(link: Link) -> int:
    return link.busy
