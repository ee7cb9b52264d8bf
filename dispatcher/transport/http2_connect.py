"""How an HTTP/2 connection comes about: address, proxy, TLS with ALPN, and the server's first frame."""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

import msgspec
from aiohappyeyeballs import start_connection

from dispatcher.transport.http2_link import Link
from dispatcher.transport.route import Route

CONNECT_TIMEOUT_S = 10.0
"""For all of it, the server's SETTINGS included. FCM's guide: 5 to 10 s."""

NEXT_ADDRESS_S = 0.25
"""An address of a name that has not answered by then gets company (RFC 8305, 5)."""

MOST_PROXY_HEAD = 16_384
"""Bytes of a proxy's answer to CONNECT."""


class Http11Only(Exception):  # noqa: N818 - a state of the world, not a mistake
    """The server does not speak HTTP/2; nothing was sent."""


class Place(msgspec.Struct, frozen=True):
    """Where a server is, and how to get there.

    Attributes:
        host: name or address.
        port: its port.
        tls: what to trust, `h2` offered by ALPN; None: HTTP/2 without TLS, by prior knowledge (RFC 9113, 3.3).
        route: for its proxy, if it has one: spoken to without TLS (`make_http2` refuses others).
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    route: Route

    @classmethod
    def of(cls, endpoint: str, route: Route, *, only_http2: bool) -> Self:
        """The place of an endpoint.

        Raises:
            SettingsError: the route's CA file will not do.
        """
        url = urlsplit(endpoint)
        tls = None
        if url.scheme == "https":
            tls = route.tls()  # of our own: ALPN belongs to the context, and aiohttp's must not offer `h2`
            tls.set_alpn_protocols(["h2"] if only_http2 else ["h2", "http/1.1"])
        return cls(url.hostname or "", url.port or (80 if tls is None else 443), tls, route)


async def connect(place: Place, new_link: Callable[[], Link]) -> Link:
    """A connection to a server that has shown that it speaks HTTP/2.

    Raises:
        OSError: there is none to be had; one line that says why.
        Http11Only: the server has chosen another protocol.
    """
    limit = asyncio.timeout(CONNECT_TIMEOUT_S)
    link: Link | None = None
    try:
        async with limit:
            link = await _open(place, new_link)
            try:
                reason = await link.ready
            except BaseException:
                link.abort("given up")  # whatever it is by now: nobody else has it
                raise
            if reason and link.http11:
                raise Http11Only
            if reason:
                raise ConnectionError(reason)
            return link
    except ssl.SSLCertVerificationError as error:
        raise ConnectionError(
            f"the certificate of {place.host}:{place.port} is not trusted ({error.verify_message}); see DISPATCHER_CA_FILE"
        ) from None
    except ssl.SSLError as error:
        # OpenSSL spells it with spaces or with underscores.
        if "no application protocol" in str(error).lower().replace("_", " "):
            raise Http11Only from None
        raise
    except TimeoutError:
        if not limit.expired():
            raise
        what = "connection" if link is None else "SETTINGS of HTTP/2"
        how = f" through the proxy {place.route.proxy_address}" if place.route.proxy else ""
        raise TimeoutError(f"no {what}{how} within {CONNECT_TIMEOUT_S:g} s") from None


async def _open(place: Place, new_link: Callable[[], Link]) -> Link:
    loop = asyncio.get_running_loop()
    name = place.host if place.tls is not None else None
    if place.route.proxy:
        joined = await _through_proxy(place)
    else:
        joined = await _reach(place.host, place.port)
    try:
        transport, link = await loop.create_connection(
            new_link, sock=joined, ssl=place.tls, server_hostname=name
        )
    except BaseException:
        joined.close()
        raise
    chosen = transport.get_extra_info("ssl_object")
    if chosen is not None and chosen.selected_alpn_protocol() != "h2":
        link.abort("no HTTP/2")
        raise Http11Only
    link.flush()  # the preface, only now: another protocol's server must not have to make sense of it (RFC 9113, 3.2)
    return link


async def _reach(host: str, port: int) -> socket.socket:
    """A socket to the first address of a name that takes it: one that is silent must not use up the time of the others.

    Raises:
        OSError: none of them takes it.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1)


async def _through_proxy(place: Place) -> socket.socket:
    """A socket that a proxy has joined to the server (RFC 9110, 9.3.6).

    Raises:
        OSError: the proxy cannot be reached, or refuses. Never says the password.
    """
    url = urlsplit(place.route.proxy_address)
    try:
        joined = await _reach(url.hostname or "", url.port or 80)
    except OSError as error:
        raise ConnectionError(f"cannot reach the proxy {place.route.proxy_address}: {error}") from None
    try:
        await _ask_proxy(joined, place)
    except BaseException:
        joined.close()
        raise
    return joined


async def _ask_proxy(joined: socket.socket, place: Place) -> None:
    loop = asyncio.get_running_loop()
    host = f"[{place.host}]" if ":" in place.host else place.host
    lines = [f"CONNECT {host}:{place.port} HTTP/1.1", f"Host: {host}:{place.port}"]
    if (login := place.route.proxy_login) is not None:
        # RFC 7617: user, colon, password.
        lines.append("Proxy-Authorization: Basic " + b64encode(":".join(login).encode()).decode())
    await loop.sock_sendall(joined, "\r\n".join([*lines, "", ""]).encode())
    head = bytearray()
    # Byte by byte: what comes after the head is the server's.
    while not head.endswith(b"\r\n\r\n"):
        byte = await loop.sock_recv(joined, 1)
        head += byte
        if not byte or len(head) > MOST_PROXY_HEAD:
            raise ConnectionError(f"the proxy {place.route.proxy_address} does not answer as a proxy")
    status = bytes(head.split(b"\r\n", 1)[0]).decode("latin-1").split(" ", 1)
    if not status[0].startswith("HTTP/1.") or len(status) < 2 or not status[1].startswith("2"):
        raise ConnectionError(f"the proxy {place.route.proxy_address} refuses: {' '.join(status)[:100]}")
