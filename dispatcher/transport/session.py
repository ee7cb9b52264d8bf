"""The pooled connections: one aiohttp session for a worker, and one POST with its failures named.

aiohttp speaks HTTP/1.1 only; a connection carries one request at a time and goes back to the pool after it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from dispatcher.model import SendError
from dispatcher.transport.wire import not_sent, unknown_fate

KEEP_ALIVE_S = 30.0
"""Below what front ends commonly keep (60 s and more): reusing a connection that the server is just closing
would make the fate of its messages unknown."""

CONNECT_TIMEOUT_S = 10.0
"""FCM's guide: 5 to 10 s."""

MAX_ANSWER_BYTES = 16 << 20
"""Far above 500 answers of the largest kind; a peer that never stops must not fill the memory."""


class Answer(msgspec.Struct):
    """A whole HTTP answer."""

    status: int
    content_type: str | None
    retry_after: str | None
    date: str | None
    body: bytes


class Session:
    """The worker's HTTP client; an async context manager.

    Args:
        verify: check certificates (a setting that warns switches it off).
        ca_file: a private CA to trust instead of the system's.
        proxy: URL of an HTTP proxy.
    """

    def __init__(self, *, verify: bool = True, ca_file: str | None = None, proxy: str | None = None) -> None:
        self._verify = verify
        self._ca_file = ca_file
        self._proxy = proxy
        self._client: aiohttp.ClientSession | None = None
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=self._ca_file)
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connector = aiohttp.TCPConnector(
            limit=0,  # the sending stage limits each project; a common limit would let one starve another
            ssl=context,
            keepalive_timeout=KEEP_ALIVE_S,
            # Explicit, because an installed aiodns would silently change the default.
            resolver=aiohttp.ThreadedResolver(),
            ttl_dns_cache=60,
        )
        self._client = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
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

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> Answer | SendError:
        """POST `body` and read the whole answer.

        Args:
            url: absolute.
            body: sent as it is.
            headers: all of them but Host and Content-Length.
            timeout_s: from now to the last byte of the answer.

        Returns:
            The answer, whatever its status, or what is known of the messages if there is none.
        """
        if self._client is None:
            raise RuntimeError("Session is used outside its `async with`")
        timeout = self._timeouts.get(timeout_s)
        if timeout is None:
            timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
            self._timeouts[timeout_s] = timeout
        try:
            async with self._client.post(
                url, data=body, headers=headers, timeout=timeout, proxy=self._proxy, allow_redirects=False
            ) as answer:
                content = await _read(answer)
                head = answer.headers
                return Answer(
                    answer.status,
                    head.get("Content-Type"),
                    head.get("Retry-After"),
                    head.get("Date"),
                    content,
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return not_sent(f"cannot connect: {_why(error)}")
        except (aiohttp.ClientProxyConnectionError, aiohttp.InvalidURL) as error:
            return not_sent(f"cannot connect: {_why(error)}")
        except TimeoutError:
            return unknown_fate(f"no answer within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, _AnswerTooLargeError) as error:
            return unknown_fate(f"the answer was lost: {_why(error)}")


class _AnswerTooLargeError(Exception):
    """The answer exceeds MAX_ANSWER_BYTES."""


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The whole body, but no more than MAX_ANSWER_BYTES of it."""
    length = answer.content_length
    if length is not None and length <= MAX_ANSWER_BYTES:
        return await answer.read()
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise _AnswerTooLargeError(f"more than {MAX_ANSWER_BYTES >> 20} MiB")
        pieces.append(piece)
    return b"".join(pieces)


def _why(error: BaseException) -> str:
    """The error in one line; class names alone where aiohttp has no text."""
    return f"{type(error).__name__} {error}".strip().replace("\n", " ")[:200]
