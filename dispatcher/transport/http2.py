"""The `v1` wire over HTTP/2: many requests at once on a few pooled TLS connections, chosen by ALPN.

A batch is one `Call`: no task, future or timer for a message. Messages go to the connections with room; a new
connection is opened, one at a time, while there is more to send than room, up to the limit.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from dispatcher.model import Batch, SendResponse
from dispatcher.protocol.http2.headers import Header
from dispatcher.protocol.message import bodies
from dispatcher.transport.http2_call import Call
from dispatcher.transport.http2_link import Link
from dispatcher.transport.wire import Observe, Timeouts

CONNECT_TIMEOUT_S = 10.0
OPEN_EVERY_S = 0.05
"""Connections are opened one after the other: a herd of handshakes would be the server's first impression of us."""

STREAMS = 100
"""What a connection carries, for reckoning how many are needed; the server's own word decides."""

REST_S = 1.0
"""After a failed attempt to connect, before the next one that is not needed for anything to move at all."""


class Http11Only(Exception):  # noqa: N818 - a state of the world, not a mistake
    """The server does not speak HTTP/2; nothing was sent."""


class Http2Transport:
    """`POST {endpoint}/v1/projects/{project}/messages:send` over HTTP/2; an async context manager.

    Args:
        endpoint: base URL; `https://`, or `http://` for a server that speaks HTTP/2 without TLS.
        timeouts: how long an answer may take.
        observe: told of the requests of each batch.
        most_requests: requests of the project in flight at a time.
        tls: certificates to trust; None: the system's.
    """

    name = "v1"

    def __init__(
        self,
        endpoint: str,
        timeouts: Timeouts,
        observe: Observe,
        *,
        most_requests: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        url = urlsplit(endpoint)
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._scheme = url.scheme.encode()
        self._authority = url.netloc.encode()
        self._path = url.path.rstrip("/")
        self._tls: ssl.SSLContext | None = None
        if url.scheme == "https":
            self._tls = tls or ssl.create_default_context()
            self._tls.set_alpn_protocols(["h2", "http/1.1"])
        self._timeouts = timeouts
        self._observe = observe
        self._most_links = -(-most_requests // STREAMS)
        self._links: list[Link] = []
        self._calls: deque[Call] = deque()
        self._opening: asyncio.Task[None] | None = None
        self._rest_until = 0.0
        self._tasks = asyncio.TaskGroup()
        self._headers: dict[tuple[str, str], tuple[Header, ...]] = {}
        self._http11 = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opening is not None:
            self._opening.cancel()
        for link in self._links:
            link.close()
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._links)

    def requests(self, batch: Batch) -> int:
        """A request a message."""
        return batch.size

    async def send(self, batch: Batch, access_token: str, *, now: float, at_once: int) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`).

        Raises:
            Http11Only: the server has no HTTP/2; send it another way.
        """
        if self._http11:
            raise Http11Only
        contents = [body for job in batch.jobs for body in bodies(job, now)]
        call = Call(self._request_headers(batch.project, access_token), contents, at_once)
        self._calls.append(call)
        timeout_s = self._timeouts.of(batch)
        try:
            self._pump()
            async with asyncio.timeout(timeout_s):
                await call.done
        except TimeoutError:
            call.expire(f"no answer within {timeout_s:g} s")
        finally:
            self._forget(call)
        for status, durations in call.took.items():
            self._observe(self.name, status, durations)
        return call.responses

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

    def _forget(self, call: Call) -> None:
        if call in self._calls:
            self._calls.remove(call)
        if call.active:
            for link in self._links:
                link.abandon(call)
        self._pump()

    def _pump(self) -> None:
        """Start what there is room for; open a connection if there is not enough."""
        if any(link.gone for link in self._links):
            self._http11 |= any(link.http11 for link in self._links)
            self._links = [link for link in self._links if not link.gone]
        now = asyncio.get_running_loop().time()
        used = []
        for link in sorted(self._links, key=lambda link: link.busy) if len(self._links) > 1 else self._links:
            room = link.room
            started = False
            while room and (call := self._next_call()) is not None:
                count = min(room, len(call.waiting), call.at_once - call.active)
                for _ in range(count):
                    number = call.waiting.popleft()
                    link.start(call.headers, call, number, call.bodies[number], now)
                call.active += count
                room -= count
                started = True
            if started:
                used.append(link)
        for link in used:
            link.flush()
        if self._next_call() is not None:
            self._open_another(now)

    def _next_call(self) -> Call | None:
        """The oldest call with something to start."""
        while self._calls:
            call = self._calls[0]
            if call.eager:
                return call
            if call.waiting:
                # Held by its own limit: the next one may go ahead of it.
                return next((other for other in self._calls if other.eager), None)
            self._calls.popleft()
        return None

    def _open_another(self, now: float) -> None:
        if self._opening is not None or len(self._links) >= self._most_links:
            return
        if self._links and now < self._rest_until:
            return
        self._opening = self._tasks.create_task(self._open(), name="http2 connect")

    async def _open(self) -> None:
        """Open one connection; if none is to be had at all, tell those who wait."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                transport, link = await loop.create_connection(
                    lambda: Link(self._pump),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except (OSError, TimeoutError, ssl.SSLError) as error:
            self._opening = None
            self._rest_until = loop.time() + REST_S
            if not self._links:
                why = f"{type(error).__name__} {error}".strip()
                for call in list(self._calls):
                    call.refuse_waiting(f"cannot connect: {why}")
            return
        chosen = transport.get_extra_info("ssl_object")
        if chosen is not None and chosen.selected_alpn_protocol() != "h2":
            self._http11 = True
            link.close()
            for call in list(self._calls):
                call.refuse_waiting("the server does not speak HTTP/2")
        else:
            self._links.append(link)
            await asyncio.sleep(OPEN_EVERY_S if len(self._links) > 1 else 0)
        self._opening = None
        self._pump()
