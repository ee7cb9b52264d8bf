"""One XMPP connection: slixmpp's client for TLS, SASL and binding, our own reader for everything that comes.

slixmpp parses with an XML parser that expands entities and lets a stanza grow without end, and it builds several objects
for each. So the parser is ours (protocol/xml_stream.py), put in where slixmpp makes its own; messages never reach
slixmpp. It also looks for other hosts, reconnects by itself and asks for a roster: none of that is wanted here.

Imported only where TRANSPORT is `xmpp`: slixmpp comes with the extra of that name.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec
from slixmpp import ClientXMPP

from dispatcher.protocol.xml_stream import Broken, Element, Ended, Event, Opened, StreamReader
from dispatcher.protocol.xmpp import MESSAGE

_STREAM_ERROR = "http://etherx.jabber.org/streams error"

DEAD_AFTER_MS = 30_000
"""What was written and is not acknowledged by the other machine for so long is lost, and the connection with it."""

# It logs every stanza, those with passwords and tokens too.
_log = logging.getLogger("slixmpp")
_log.setLevel(logging.CRITICAL)
_log.propagate = False
_log.addHandler(logging.NullHandler())


class Account(msgspec.Struct, frozen=True):
    """Who logs in, and where.

    Attributes:
        host, port: of the server; `host` is also the name in its certificate.
        domain: of the stream.
        user: local part of our address.
        login: name for SASL; CCS wants the whole address.
    """

    host: str
    port: int
    domain: str
    user: str
    login: str


class LoginRefused(Exception):  # noqa: N818 - reads as the state it reports
    """The server takes this name and password not."""


class Client(ClientXMPP):
    """One connection, from its first byte to its last; never used again.

    Args:
        account: who logs in.
        password: the server key.
        on_messages: told of all messages of a piece of data, from `start` on.
        on_end: told once, why it ended.
    """

    def __init__(
        self,
        account: Account,
        password: str,
        on_messages: Callable[[list[Element]], None],
        on_end: Callable[[str], None],
    ) -> None:
        super().__init__(
            f"{account.user}@{account.domain}",
            password,
            sasl_mech="PLAIN",
            plugin_config={"feature_mechanisms": {"unencrypted_plain": False}},
        )
        self.credentials["username"] = account.login
        self.whitespace_keepalive = False
        # Sessions are a thing of the past (RFC 6121, 1.4), and FCM's server does not say that its own is optional.
        self.unregister_feature("session", 10001)
        self.unregister_feature("starttls", 0)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_messages = on_messages
        self._on_end = on_end
        self._why = ""
        # Until `start`: the first messages may come in one piece with the answer to the binding.
        self._early: list[Element] | None = []
        self.add_event_handler("session_bind", self._bound)
        self.add_event_handler("failed_auth", self._refused)

    def start(self) -> None:
        """Tell of messages from now on, those that have come already first."""
        early, self._early = self._early, None
        if early:
            self._on_messages(early)

    def write(self, data: bytes) -> None:
        """Write stanzas, if the connection is still there."""
        if self.transport is not None:
            self.transport.write(data)

    def end(self, why: str) -> None:
        """Close the stream in good order, without waiting for the other side."""
        if self.transport is not None:
            self._why = self._why or why
            self.transport.write(b"</stream:stream>")
            self.transport.close()

    def cut(self, why: str) -> None:
        """Close the connection at once."""
        self._why = self._why or why
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        """Read nothing more for now."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.transport is not None:
            self.transport.resume_reading()

    # What slixmpp calls, or would do otherwise.

    def send(self, data: Any, use_filters: bool = True) -> None:  # noqa: ARG002 - slixmpp's signature
        """Handshakes only; at once, where slixmpp would queue them for a task of its own."""
        self.write(str(data).encode())

    def disconnect(
        self,
        wait: float = 0.0,  # noqa: ARG002 - slixmpp's signature
        reason: str | None = None,
        ignore_send_queue: bool = True,  # noqa: ARG002 - as above
    ) -> asyncio.Future[Any]:
        """At once, where slixmpp would wait in a task of its own."""
        self.cut(reason or "the server offers no way to log in")
        over = asyncio.get_running_loop().create_future()
        over.set_result(None)
        return over

    def connection_made(self, transport: Any, send_event: bool = True) -> None:  # noqa: ARG002 - slixmpp's signature
        """The TLS connection stands: open the stream."""
        self.transport = transport
        self.socket = transport.get_extra_info("ssl_object")
        _watch_over(transport.get_extra_info("socket"))
        self.init_parser()
        self.send_raw(self.stream_header)

    def connection_lost(self, exception: BaseException | None) -> None:
        """It is over, for whatever reason."""
        self.transport = self.parser = self.socket = None
        why = self._why or (f"{type(exception).__name__}" if exception else "closed by the server")
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(why))
        self._on_end(why)

    def init_parser(self) -> None:
        """A stream begins, the first one or the one after login."""
        self.xml_depth = 0
        self.xml_root = None
        self.parser = cast("Any", _Parser(self))

    def took(self, events: list[Event]) -> list[tuple[str, ET.Element]]:
        """Deal with what came; returns what is slixmpp's business, as its parser would have told it."""
        theirs: list[tuple[str, ET.Element]] = []
        messages: list[Element] = []
        for event in events:
            match event:
                case Element(tag=tag) if tag == MESSAGE:
                    messages.append(event)
                case Element(tag=tag) if tag == _STREAM_ERROR:
                    condition = event.children[0].tag.rpartition(" ")[2] if event.children else "unknown"
                    self.cut(f"stream error: {condition[:80]}")
                case Element():
                    made = _made(event)
                    theirs += (("start", made), ("end", made))
                case Opened(tag=tag, attributes=attributes):
                    theirs.append(("start", _made(Element(tag, attributes))))
                case Ended():
                    self.cut("the server closed the stream")
                case Broken(condition=condition, reason=reason):
                    self.cut(f"malformed XML from the server: {condition}, {reason}")
        if self._early is not None:
            self._early += messages
        elif messages:
            self._on_messages(messages)
        return theirs

    def _bound(self, _: object) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def _refused(self, failure: Any) -> None:
        condition = str(failure["condition"])[:80]
        if self.ready.done():
            return
        if condition == "temporary-auth-failure":
            self.ready.set_exception(ConnectionError(f"login put off: {condition}"))
        else:
            self.ready.set_exception(LoginRefused(f"refused with {condition}"))


class _Parser:
    """What slixmpp takes for its parser."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reader = StreamReader()
        self._events: list[tuple[str, ET.Element]] = []

    def feed(self, data: bytes) -> None:
        self._events = self._client.took(self._reader.feed(data))

    def read_events(self) -> Iterator[tuple[str, ET.Element]]:
        events, self._events = self._events, []
        return iter(events)


def _made(element: Element) -> ET.Element:
    made = ET.Element(_tag(element.tag), {_tag(name): value for name, value in element.attributes.items()})
    made.text = element.text
    made.extend(map(_made, element.children))
    return made


def _tag(name: str) -> str:
    namespace, space, local = name.rpartition(" ")
    return f"{{{namespace}}}{local}" if space else name


def _watch_over(connection: Any) -> None:
    """Have the system notice that the other side is gone: a half-open connection would hold its messages."""
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 60),
        ("TCP_KEEPINTVL", 15),
        ("TCP_KEEPCNT", 2),
        ("TCP_USER_TIMEOUT", DEAD_AFTER_MS),
    ):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def connect(
    account: Account,
    password: str,
    tls: ssl.SSLContext,
    timeout_s: float,
    *,
    on_messages: Callable[[list[Element]], None],
    on_end: Callable[[str], None],
) -> Client:
    """Connect, log in and bind; `Client.start` is left to the caller.

    Args:
        account: who logs in, and where.
        password: the server key.
        tls: what the connection is made with; from its first byte.
        timeout_s: for all of it.
        on_messages: see `Client`.
        on_end: see `Client`; not called unless this returns.

    Raises:
        LoginRefused: name and password are not taken.
        OSError: anything else; `str()` says what (also TLS errors and timeouts).
    """
    told = False

    def ended(why: str) -> None:
        if told:
            on_end(why)

    loop = asyncio.get_running_loop()
    client = Client(account, password, on_messages, ended)
    try:
        async with asyncio.timeout(timeout_s):
            await loop.create_connection(
                lambda: client, account.host, account.port, ssl=tls, server_hostname=account.host
            )
            await client.ready
    except TimeoutError:
        client.cut("timeout")
        raise TimeoutError(f"no login within {timeout_s:g} s") from None
    except BaseException:
        client.cut("no login")
        raise
    told = True
    return client
