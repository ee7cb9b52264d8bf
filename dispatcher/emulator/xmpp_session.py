"""One XMPP connection to the emulator: bytes in, bytes out. Login, stream restart, binding, then stanzas."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as BadBase64Error
from collections.abc import Callable
from secrets import token_hex

from dispatcher.emulator.xmpp import DOMAIN, MOST_PENDING, Said, Unacked, Xmpp
from dispatcher.protocol.xml_stream import Broken, Element, Ended, Event, Opened, StreamReader, header, quoted
from dispatcher.protocol.xmpp import CLIENT, MESSAGE
from dispatcher.protocol.xmpp_server import Acked, Sent, control, read_sent, stanza_error

_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
_BIND = "urn:ietf:params:xml:ns:xmpp-bind"
_SESSION = "urn:ietf:params:xml:ns:xmpp-session"
_MECHANISMS = (
    f'<stream:features><mechanisms xmlns="{_SASL}"><mechanism>X-OAUTH2</mechanism>'
    "<mechanism>X-GOOGLE-TOKEN</mechanism><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
).encode()
_FEATURES = (
    f'<stream:features><bind xmlns="{_BIND}"/><session xmlns="{_SESSION}"/></stream:features>'.encode()
)
_END = b"</stream:stream>"


class Outlet:
    """Where a session's words go.

    Args:
        write: writes bytes now.
        later: calls after so many seconds.
        close: closes the connection after what was written.
        abort: closes it at once.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        later: Callable[[float, Callable[[], None]], None],
        close: Callable[[], None],
        abort: Callable[[], None],
    ) -> None:
        self.write = write
        self.later = later
        self.close = close
        self.abort = abort


CLOSE_AFTER_S = 2.0
"""A draining connection is closed after this, unless its sender does it first."""


class Session:
    """One connection; a `Connection` of `Xmpp` once it has logged in.

    Args:
        xmpp: what all have in common.
        outlet: where to speak.
    """

    def __init__(self, xmpp: Xmpp, outlet: Outlet) -> None:
        self.project = ""
        self.owed: dict[tuple[str, str], Unacked] = {}
        self.draining = False
        self._xmpp = xmpp
        self._outlet = outlet
        self._reader = StreamReader()
        self._jid = ""
        self._user = ""
        self._pending = 0
        self._closed = False

    def receive(self, data: bytes) -> None:
        """Deal with what came."""
        for event in self._reader.feed(data):
            if self._closed:
                break
            self._take(event)

    def lost(self) -> None:
        """The connection is gone."""
        self._closed = True
        self._xmpp.gone(self)

    def say(self, data: bytes) -> None:
        """See `Connection`."""
        if not self._closed:
            self._outlet.write(data)

    def drain(self) -> None:
        """See `Connection`."""
        if not self.draining:
            self.draining = True
            self.say(control("CONNECTION_DRAINING"))
            self._outlet.later(CLOSE_AFTER_S, self._end)

    def cut(self) -> None:
        """See `Connection`."""
        self._closed = True
        self._outlet.abort()

    def _take(self, event: Event) -> None:
        match event:
            case Opened(tag=tag):
                if tag != "http://etherx.jabber.org/streams stream":
                    self._fail("invalid-namespace")
                    return
                self.say(header(CLIENT, {"from": DOMAIN, "id": token_hex(4).upper(), "version": "1.0"}))
                self.say(_FEATURES if self.project else _MECHANISMS)
            case Ended():
                self._end()
            case Broken(condition=condition):
                self._xmpp.counts["malformed"] += 1
                self._fail(condition)
            case Element(tag=tag) if tag == f"{_SASL} auth" and not self.project:
                self._login(event)
            case Element(tag=tag) if tag == f"{CLIENT} iq" and self.project:
                self._query(event)
            case Element(tag=tag) if tag == MESSAGE and self._jid:
                self._message(event)
            case Element():
                if not self.project:
                    self._fail("not-authorized")

    def _login(self, auth: Element) -> None:
        try:
            _, authcid, password = b64decode(auth.text, validate=True).decode().split("\0")
        except (BadBase64Error, ValueError):
            authcid = password = ""
        fault = self._xmpp.fault_at_login()
        project = self._xmpp.login(authcid, password) if auth.attributes.get("mechanism") == "PLAIN" else None
        if fault is not None and fault[1]:
            self.cut()
            return
        if project is None or fault is not None:
            self._xmpp.counts["refused"] += 1
            condition = fault[0] if fault is not None else "not-authorized"
            self.say(f'<failure xmlns="{_SASL}"><{condition}/></failure>'.encode() + _END)
            self._close()
            return
        self.project = project
        self._user = authcid.partition("@")[0]
        self._reader = StreamReader()
        self.say(f'<success xmlns="{_SASL}"/>'.encode())

    def _query(self, query: Element) -> None:
        name = quoted(query.attributes.get("id", ""))
        bind = query.child(f"{_BIND} bind")
        if bind is not None and not self._jid:
            self._jid = f"{self._user}@{DOMAIN}/{token_hex(2).upper()}"
            self.say(
                f'<iq type="result" id={name}><bind xmlns="{_BIND}"><jid>{self._jid}</jid></bind></iq>'.encode()
            )
            self._xmpp.bound(self)
        elif query.child(f"{_SESSION} session") is not None:
            self.say(f'<iq type="result" id={name}/>'.encode())
        elif query.attributes.get("type") in ("get", "set"):
            error = '<service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>'
            self.say(f'<iq type="error" id={name}><error type="cancel">{error}</error></iq>'.encode())

    def _message(self, element: Element) -> None:
        read = read_sent(element)
        if isinstance(read, Acked):
            self._xmpp.acked(self, read.to, read.message_id)
            return
        self._pending += 1
        counts = self._xmpp.counts
        counts["most_pending"] = max(counts["most_pending"], self._pending)
        if self._pending > MOST_PENDING:
            counts["violations"] += 1
        if self._xmpp.silent:
            return
        if isinstance(read, Sent):
            said = self._xmpp.answer(self.project, read, draining=self.draining)
        else:
            said = Said(stanza_error(read, self._jid))
        if said.delay > 0:
            self._outlet.later(said.delay, lambda: self._answered(said))
        else:
            self._answered(said)

    def _answered(self, said: Said) -> None:
        if self._closed:
            return
        self._pending -= 1
        if said.cut:
            self.cut()
            return
        self.say(said.data)
        if said.drains and not self.draining:
            self.draining = True
            self._outlet.later(CLOSE_AFTER_S, self._end)

    def _fail(self, condition: str) -> None:
        """End the stream with an error (RFC 6120, 4.9)."""
        self.say(
            f'<stream:error><{condition} xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>'.encode()
            + _END
        )
        self._close()

    def _end(self) -> None:
        if not self._closed:
            self.say(_END)
            self._close()

    def _close(self) -> None:
        self._closed = True
        self._outlet.close()
