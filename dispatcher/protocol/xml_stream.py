"""An XML stream as XMPP has one: bytes in, whole stanzas out. Client and server read with the same reader.

Expat by itself declares and expands entities, and lets a stanza grow without end. XMPP forbids what makes XML dangerous
(RFC 6120, 11.1: declarations, entities, comments, instructions), so here the first sign of it ends the stream; a stanza is
bounded in bytes and in depth. Tags are written `namespace local`, with one space.
"""

from __future__ import annotations

from typing import NoReturn
from xml.parsers import expat

import msgspec

MOST_BYTES = 256 << 10
"""Of one stanza: far above a 4 KB payload with every character escaped."""

MOST_DEPTH = 16
"""Of elements inside one another; FCM's stanzas have three."""

_UNWANTED = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}
"""Characters that JSON may hold as they are and XML may not (XML 1.0, 2.2); control characters are escaped in JSON."""


class Element(msgspec.Struct):
    """One element.

    Attributes:
        tag: `namespace local`.
        attributes: by name; a name with a namespace has it before it, as in tags.
        children: elements directly inside.
        text: all character data directly inside.
    """

    tag: str
    attributes: dict[str, str] = {}
    children: list[Element] = []
    text: str = ""

    def child(self, tag: str) -> Element | None:
        """The first element of this tag directly inside."""
        return next((child for child in self.children if child.tag == tag), None)


class Opened(msgspec.Struct):
    """The other side has opened its stream.

    Attributes:
        tag: of its root.
        attributes: of its root.
    """

    tag: str
    attributes: dict[str, str]


class Ended(msgspec.Struct):
    """The other side has closed its stream."""


class Broken(msgspec.Struct):
    """The stream cannot go on: malformed, with what XMPP forbids, or too large. Always the last event.

    Attributes:
        condition: XMPP's name for it (RFC 6120, 4.9.3), as `not-well-formed`.
        reason: for people; quotes nothing of what came.
    """

    condition: str
    reason: str


Event = Opened | Element | Ended | Broken


class _StopError(Exception):
    """Ends expat's work on what it was fed."""

    def __init__(self, condition: str, reason: str) -> None:
        super().__init__(reason)
        self.broken = Broken(condition, reason)


class StreamReader:
    """Reads one stream; after `<success/>` a new one begins, and with it a new reader.

    Args:
        most_bytes: of one stanza.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._events: list[Event] = []
        self._open: list[Element] = []
        self._started = False
        self._fed = 0
        # Where the stanza under way, or the space before it, begins.
        self._mark = 0
        self._broken = False
        parser = expat.ParserCreate("UTF-8", " ")
        parser.buffer_text = True
        # Where expat has it: a stanza that ends with the bytes at hand is not to wait for more of them.
        if hasattr(parser, "SetReparseDeferralEnabled"):
            parser.SetReparseDeferralEnabled(False)  # noqa: FBT003 - expat's signature
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _forbid
        parser.ProcessingInstructionHandler = parser.CommentHandler = _forbid
        self._parser = parser

    def feed(self, data: bytes) -> list[Event]:
        """What has become whole with these bytes; nothing more after `Broken`."""
        events: list[Event] = []
        self._events = events
        if self._broken:
            return events
        self._fed += len(data)
        try:
            self._parser.Parse(data, False)  # noqa: FBT003 - expat's signature
            if self._fed - self._mark > self._most:
                _refuse("policy-violation", f"a stanza of more than {self._most} bytes")
        except expat.ExpatError as error:
            reason = expat.errors.messages.get(error.code, "unreadable")
            self._stop(Broken("not-well-formed", reason))
        except _StopError as stop:
            self._stop(stop.broken)
        return events

    def _stop(self, broken: Broken) -> None:
        self._broken = True
        self._events.append(broken)
        self._open.clear()
        self._parser = expat.ParserCreate()  # lets go of its buffer

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._started:
            self._started = True
            self._mark = self._parser.CurrentByteIndex
            self._events.append(Opened(tag, attributes))
            return
        element = Element(tag, attributes, [], "")
        if self._open:
            self._open[-1].children.append(element)
        self._open.append(element)
        if len(self._open) > MOST_DEPTH:
            _refuse("policy-violation", f"elements more than {MOST_DEPTH} deep")

    def _end(self, _: str) -> None:
        if not self._open:
            self._events.append(Ended())
            return
        element = self._open.pop()
        if not self._open:
            self._events.append(element)
            self._mark = self._parser.CurrentByteIndex

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text
        elif text.isspace():
            self._mark = self._parser.CurrentByteIndex  # a sign of life
        else:
            _refuse("bad-format", "text between stanzas")


def _refuse(condition: str, reason: str) -> NoReturn:
    raise _StopError(condition, reason)


def _forbid(*_: object) -> NoReturn:
    _refuse("restricted-xml", "a declaration, an entity, a comment or an instruction")


# Written.


def escaped(text: str) -> str:
    """JSON text as it may stand between tags; it stays the JSON that it was."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text if text.isascii() else text.translate(_UNWANTED)


def quoted(text: str) -> str:
    """Text as it may stand in an attribute, quotes around it."""
    return '"' + escaped(text).replace('"', "&quot;") + '"'


def header(namespace: str, attributes: dict[str, str]) -> bytes:
    """The start of a stream.

    Args:
        namespace: of what is sent in it, as `jabber:client`.
        attributes: of its root, as `to`, `from`, `id`, `version`.
    """
    given = "".join(f" {name}={quoted(value)}" for name, value in attributes.items())
    streams = "http://etherx.jabber.org/streams"
    return f'<stream:stream xmlns="{namespace}" xmlns:stream="{streams}"{given}>'.encode()
