"""The `v1` wire over HTTP/2: one request a message, a batch at once."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from dispatcher.model import Batch, SendResponse
from dispatcher.protocol.http2.headers import Header
from dispatcher.protocol.message import bodies
from dispatcher.transport.http2_call import Call
from dispatcher.transport.http2_pool import Http2Pool
from dispatcher.transport.wire import MaySend, Observe, Timeouts, always


class Http2Transport:
    """`POST {endpoint}/v1/projects/{project}/messages:send` over HTTP/2, for one project.

    Args:
        pool: the connections to its endpoint.
        endpoint: base URL; `https://`, or `http://` for a server that speaks HTTP/2 without TLS.
        timeouts: how long an answer may take.
        observe: told of the requests of each batch.
    """

    name = "v1"

    def __init__(self, pool: Http2Pool, endpoint: str, timeouts: Timeouts, observe: Observe) -> None:
        url = urlsplit(endpoint)
        self.pool = pool
        self._scheme = url.scheme.encode()
        self._authority = url.netloc.encode()
        self._path = url.path.rstrip("/")
        self._timeouts = timeouts
        self._observe = observe
        self._headers: dict[tuple[str, str], tuple[Header, ...]] = {}

    def requests(self, batch: Batch) -> int:
        """A request a message."""
        return batch.size

    def lacks_http2(self) -> bool:
        """The server has no HTTP/2, as far as is known, and another way will do."""
        return self.pool.lacks_http2()

    async def send(
        self, batch: Batch, access_token: str, *, now: float, at_once: int, may_send: MaySend = always
    ) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`); nothing of it if the server has no HTTP/2."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        headers = self._request_headers(batch.project, access_token)
        call = Call(headers, bodies(batch.jobs, now), at_once, began, may_send)
        await self.pool.run(call, self._timeouts.of(batch))
        if call.refused and not self.lacks_http2():  # they go another way, and are told of there
            call.took.setdefault(0, []).extend([loop.time() - began] * call.refused)
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
