"""The pooled connections: one aiohttp session for each route, and one request with its failures named.

aiohttp speaks HTTP/1.1 only; a connection carries one request at a time and goes back to the pool after it.

Two questions decide everything after a failure, and aiohttp's exceptions answer neither, so they are asked where
the answers are: has a byte of the request been handed to the socket (`_Body.left`: repeating is safe if not), and how
much of the answer had arrived (`Answer.body`: the parts of a broken batch answer that are whole still count).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import aiohttp
import aiohttp.abc
import msgspec
from aiohttp.http_writer import StreamWriter
from multidict import CIMultiDict
from yarl import URL

from dispatcher.errors import untie
from dispatcher.model import SendError
from dispatcher.transport.route import DIRECT, Route
from dispatcher.transport.wire import MaySend, always, not_sent, unknown_fate

KEEP_ALIVE_S = 30.0
"""Below what front ends commonly keep (60 s and more): reusing a connection that the server is just closing
would make the fate of its messages unknown."""

CONNECT_TIMEOUT_S = 10.0
"""FCM's guide: 5 to 10 s."""

FRESH_TRIES = 4
"""Pooled connections that may turn out to be dead before anything was written to them; then it is a failure."""


class Answer(msgspec.Struct):
    """An HTTP answer.

    Attributes:
        status: its status.
        content_type: its Content-Type header.
        retry_after: its Retry-After header.
        date: its Date header.
        body: as much of it as arrived.
        broken: why the body is not whole; "": it is.
    """

    status: int
    content_type: str | None
    retry_after: str | None
    date: str | None
    body: bytes
    broken: str = ""


class Session:
    """HTTP connections over one route; an async context manager.

    Args:
        route: the way out.

    Raises:
        SettingsError: its CA file will not do.
    """

    def __init__(self, route: Route = DIRECT) -> None:
        self._route = route
        self._tls = route.tls()
        # As `Authorization`: aiohttp makes of it what the proxy wants, for https and for http.
        self._proxy_headers = {"Authorization": route.proxy_authorization} if route.proxy_login else None
        self._client: aiohttp.ClientSession | None = None
        self._waiting: set[asyncio.Timeout] = set()
        self._cut_off = False

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,  # the sending stage limits each project; a common limit would let one starve another
            ssl=self._tls,
            keepalive_timeout=KEEP_ALIVE_S,
            # Explicit, because an installed aiodns would silently change the default.
            resolver=aiohttp.ThreadedResolver(),
            ttl_dns_cache=60,
        )
        self._client = aiohttp.ClientSession(
            connector=connector,
            request_class=_Request,
            # The limit of the whole call is `post`'s own, so that it can be cut short.
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # nothing compressed is asked for
            headers={"Accept-Encoding": "identity"},
            # Without its login, because aiohttp's errors show the URL.
            proxy=self._route.proxy_address or None,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    @property
    def connections(self) -> int:
        """Open connections, busy or idle."""
        if self._client is None or not isinstance(self._client.connector, aiohttp.TCPConnector):
            return 0
        connector = self._client.connector
        return len(connector._acquired) + sum(map(len, connector._conns.values()))  # noqa: SLF001 - aiohttp offers no count

    def cut_off(self) -> None:
        """Stop waiting for answers, now and for good: the end of a drain.

        Every `post` under way returns what is known of its messages, and every later one `not_sent`.
        """
        self._cut_off = True
        now = asyncio.get_running_loop().time()
        for limit in self._waiting:
            if not limit.expired():  # one that is about to end by itself can be moved no more
                limit.reschedule(now)

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        *,
        most: int,
        may_send: MaySend = always,
    ) -> Answer | SendError:
        """POST `body` and read the answer; see `request`."""
        return await self.request("POST", url, body, headers, timeout_s, most=most, may_send=may_send)

    async def request(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        *,
        most: int,
        may_send: MaySend = always,
    ) -> Answer | SendError:
        """Make a request and read the answer.

        Args:
            method: as GET.
            url: absolute, percent-encoded; sent as it is.
            body: likewise.
            headers: all of them but Host and Content-Length.
            timeout_s: from now to the last byte of the answer.
            most: bytes of an answer; a peer that never stops must not fill the memory.
            may_send: asked when there is a connection to write to, which may take seconds.

        Returns:
            The answer, whatever its status, and be it broken off; or what is known of the messages if not even
            its head came.
        """
        if self._client is None:
            raise RuntimeError("Session is used outside its `async with`")
        if self._cut_off:
            return not_sent("the worker is stopping")
        tries = FRESH_TRIES
        while True:
            outgoing = _Body(body, may_send)
            got = await self._exchange(self._client, method, url, outgoing, headers, timeout_s, most)
            if isinstance(got, Answer):
                return got
            if outgoing.left:
                return unknown_fate(f"no answer: {got.why}")
            tries -= 1
            if not got.dead or not tries:
                return not_sent(f"not sent: {got.why}")
            # The server had closed a connection of the pool, and nothing was written to it: take another.

    async def _exchange(
        self,
        client: aiohttp.ClientSession,
        method: str,
        url: str,
        body: _Body,
        headers: Mapping[str, str],
        timeout_s: float,
        most: int,
    ) -> Answer | _Failed:
        outer = sys.exception()
        answer: aiohttp.ClientResponse | None = None
        pieces: list[bytes] = []
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                self._waiting.add(limit)
                answer = await client.request(
                    method,
                    URL(url, encoded=True),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    proxy_headers=self._proxy_headers,
                )
                size = 0
                while piece := await answer.content.readany():
                    pieces.append(piece)
                    size += len(piece)
                    if size > most:
                        return _answer(answer, pieces, f"more than {most >> 10} KiB")
            return _answer(answer, pieces)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is one call that failed; the worker has others
            why = self._why(error, limit, timeout_s)
            untie(error, outer)
            if answer is None:
                return _Failed(why, dead=isinstance(error, _DEAD_CONNECTION))
            return _answer(answer, pieces, why)
        finally:
            self._waiting.discard(limit)
            if answer is not None:
                answer.close()  # a whole answer has given its connection back already; any other drops it

    def _why(self, error: Exception, limit: asyncio.Timeout, timeout_s: float) -> str:
        """The failure in one line; class names, because aiohttp has no text for some."""
        if limit.expired():
            return "the worker stopped" if self._cut_off else f"nothing more within {timeout_s:g} s"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            return (
                f"the certificate of {error.host}:{error.port} is not trusted ({why}); see DISPATCHER_CA_FILE"
            )
        return f"{type(error).__name__} {error}".strip().replace("\n", " ")[:200]


class _Failed(msgspec.Struct):
    """A call without an answer: why, and whether its connection was dead before anything was written."""

    why: str
    dead: bool


class _DeadConnectionError(aiohttp.ClientConnectionError):
    """A pooled connection that cannot be used any more, found out before anything was written."""


class _LapsedError(aiohttp.ClientError):
    """The messages are no longer this worker's to send."""


_DEAD_CONNECTION = (
    _DeadConnectionError,
    aiohttp.ClientConnectionResetError,
    aiohttp.ServerDisconnectedError,
)
"""With nothing written, these mean that a connection out of the pool was already closed."""


class _Body(aiohttp.Payload):
    """The bytes of a request, which know whether they have left.

    Not aiohttp's own payload for bytes: that one warns of every body over 1 MiB.

    Attributes:
        left: handed to the socket: from then on the server may have them.
    """

    _value: bytes

    def __init__(self, value: bytes, may_send: MaySend = always) -> None:
        super().__init__(value)
        self._may_send = may_send
        self._size = len(value)
        self.left = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The bytes as text (aiohttp asks for it in error reports only)."""
        return self._value.decode(encoding, errors)

    async def write(self, writer: aiohttp.abc.AbstractStreamWriter) -> None:
        """Head and body go out in one write; see `left`."""
        if isinstance(writer, StreamWriter) and (writer.transport is None or writer.transport.is_closing()):
            raise _DeadConnectionError("closed while idle")
        if not self._may_send():
            raise _LapsedError("the lease ran out")
        self.left = True
        await writer.write(self._value)


_NOT_ADDED = CIMultiDict[None]({"Accept": None, "User-Agent": None, "Content-Type": None})
"""Headers that aiohttp adds to requests without them, but not to ours."""


class _Request(aiohttp.ClientRequest):
    """A request that is not put on a connection with something left over from the last one.

    Bytes that came in while a connection was idle (a second answer to its last request) would be read as the
    answer to this one: somebody else's answer, and perhaps a live token deleted.
    """

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:  # noqa: ARG002 - aiohttp's own
        """Add no headers (called by aiohttp, which sorts, copies and merges names to come to that, once a request)."""
        self._skip_auto_headers = _NOT_ADDED

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Send the request (called by aiohttp, which closes the connection if this raises)."""
        if conn.protocol is None or conn.protocol.should_close:
            raise _DeadConnectionError("unasked bytes on it")
        return await super().send(conn)


def _answer(answer: aiohttp.ClientResponse, pieces: list[bytes], broken: str = "") -> Answer:
    head = answer.headers
    return Answer(
        answer.status,
        head.get("Content-Type"),
        head.get("Retry-After"),
        head.get("Date"),
        b"".join(pieces),
        broken,
    )
