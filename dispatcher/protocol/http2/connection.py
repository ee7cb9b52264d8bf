"""One HTTP/2 connection, the client's side: bytes in, answers and bytes out; no socket, no clock (RFC 9113).

Made for unary POSTs: a request is given whole, an answer comes whole. What the peer may do wrong ends in a value:
`receive` raises nothing, a broken rule closes the connection with the right code. For each request that ends without
an answer it is told whether the server may have processed it, since only then a repetition may duplicate a message.
"""

from __future__ import annotations

from dispatcher.model import Fate
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.answers import CONNECTION_WINDOW, STREAM_WINDOW, Answers
from dispatcher.protocol.http2.frames import ErrorCode, PeerError, Setting
from dispatcher.protocol.http2.headers import MAX_HEADER_LIST, Header
from dispatcher.protocol.http2.requests import Requests
from dispatcher.protocol.http2.streams import Answered, Closed, Event, Failed, Streams

USUAL_STREAMS = 100
"""Streams at once on a connection whose SETTINGS leave it open: Google's limit; more ends in GOAWAY (quota notes, 6)."""

_PING = b"dispatch"


class Connection:
    """One connection; `take()` what is to be sent after every call.

    Attributes:
        draining: no new requests: GOAWAY, ids used up, HTTP/1.1 asked for, or closed.
        closed: of no more use.
        settled: the peer's SETTINGS have come; before, nothing is started.
        http11: the peer asks for HTTP/1.1.
        unanswered_ping: a PING of ours has not come back.
    """

    def __init__(self) -> None:
        self.draining = False
        self.closed = False
        self.settled = False
        self.http11 = False
        self.unanswered_ping = False
        self._streams = Streams()
        self._requests = Requests(self._streams)
        self._answers = Answers(self._streams)
        self.max_streams = USUAL_STREAMS
        self._last_processed = frames.MAX_STREAM_ID
        self._buffer = b""
        # The preface ends with SETTINGS, and more may follow at once (3.4).
        self._streams.out += [
            frames.PREFACE,
            frames.settings(
                {
                    Setting.HEADER_TABLE_SIZE: 0,
                    Setting.ENABLE_PUSH: 0,
                    Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                    Setting.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
                }
            ),
            frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW),
        ]

    @property
    def streams(self) -> int:
        """Requests under way."""
        return len(self._streams.open)

    @property
    def blocked(self) -> list[int]:
        """Requests whose end has not left yet, for want of a window."""
        return list(self._streams.blocked)

    @property
    def room(self) -> int:
        """Requests that may be started now.

        None before the peer has said how many it takes (5.1.2): whoever does not speak HTTP/2 after all never gets
        a message. None while its window for the whole connection is used up: they could only queue here.
        """
        if self.draining or not self.settled or self._requests.window <= 0:
            return 0
        return max(0, self.max_streams - len(self._streams.open))

    def take(self) -> bytes:
        """What is to be sent, in order; b"" if nothing is."""
        if not self.closed:
            self._answers.reopen()
        out = self._streams.out
        data = b"".join(out)
        out.clear()
        return data

    def request(self, headers: tuple[Header, ...], body: bytes) -> int:
        """Start a request; only while there is `room`.

        Args:
            headers: pseudo-headers first, names in lower case; the same object for the same headers is cheap.
            body: not empty.

        Returns:
            Its stream id.
        """
        number = self._requests.start(headers, body)
        if number == frames.MAX_STREAM_ID:
            self.draining = True  # 5.1.1: ids are not used twice
        return number

    def cancel(self, stream: int, reason: str) -> Answered | Failed | None:
        """Give a request up; nothing more is told of it.

        Returns:
            What is known of it, with the reason; None: it is not under way.
        """
        return self._streams.cancel(stream, reason)

    def ping(self) -> None:
        """Ask for a sign of life (6.7)."""
        self.unanswered_ping = True
        self._streams.out.append(frames.frame(frames.PING, 0, 0, _PING))

    def close(self, reason: str, code: ErrorCode = ErrorCode.NO_ERROR) -> list[Event]:
        """Say goodbye; requests under way end here."""
        if self.closed:
            return []
        self._streams.out.append(frames.goaway(0, code))
        return self._end(reason)

    def lost(self, reason: str) -> list[Event]:
        """The transport below is gone."""
        return [] if self.closed else self._end(reason)

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; raises nothing, whatever they are."""
        if self.closed:
            return []
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        answers, on_data = self._answers, self._answers.on_data
        try:
            while end - at >= 9:
                word = int.from_bytes(buffer[at : at + 9], "big")
                length = word >> 48
                if length > frames.MAX_FRAME:
                    raise frames.too_large(length)
                if end - at < 9 + length:
                    break
                kind, flags, stream = word >> 40 & 0xFF, word >> 32 & 0xFF, word & 0x7FFFFFFF
                payload = buffer[at + 9 : at + 9 + length]
                at += 9 + length
                if kind <= frames.HEADERS and self.settled and not answers.inside_block:
                    if kind == frames.DATA:
                        on_data(stream, flags, payload)
                    else:
                        answers.on_headers(stream, flags, payload)
                else:
                    self._on_control(kind, flags, stream, payload)
        except PeerError as error:
            self._streams.out.append(frames.goaway(0, error.code, str(error)))
            return self._end(f"the server broke HTTP/2: {error}")
        self._buffer = buffer[at:]
        if self.draining and not self._streams.open:
            return self.close("the server closes this connection")
        return self._take_events()

    def _take_events(self) -> list[Event]:
        events, self._streams.events = self._streams.events, []
        return events

    def _end(self, reason: str) -> list[Event]:
        """Close; what is under way may have been processed."""
        self.draining = self.closed = True
        self._buffer = b""
        for number, state in list(self._streams.open.items()):
            self._streams.lose(number, state, Fate.UNKNOWN, reason)
        self._streams.events.append(Closed(reason))
        return self._take_events()

    def _on_control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if not self.settled and (kind != frames.SETTINGS or flags & frames.ACK):
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")  # 3.4
        if self._answers.inside_block and kind != frames.CONTINUATION:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")  # 4.3, 5.5
        # All of these may be sent without end at no cost to the sender (10.5).
        self._streams.spend("control frames")
        if kind == frames.CONTINUATION:
            self._answers.on_continuation(stream, flags, payload)
        elif kind == frames.SETTINGS:
            self._on_settings(flags, stream, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._requests.on_window_update(stream, payload)
        elif kind == frames.RST_STREAM:
            self._on_rst_stream(stream, payload)
        elif kind == frames.PING:
            self._on_ping(flags, stream, payload)
        elif kind == frames.GOAWAY:
            self._on_goaway(stream, payload)
        elif kind == frames.PUSH_PROMISE:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "a push, which we have switched off")  # 6.6
        elif kind == frames.PRIORITY:
            self._on_priority(stream, payload)
        # Unknown types are ignored (4.1, 5.5).

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        """SETTINGS (6.5)."""
        if stream:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with content")
            if not self._answers.headers.self_contained:
                self._answers.headers.acknowledged()
            return
        if len(payload) % 6:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "half a setting")
        window = self._requests.initial_window
        for start in range(0, len(payload), 6):
            key = int.from_bytes(payload[start : start + 2], "big")
            value = int.from_bytes(payload[start + 2 : start + 6], "big")
            if key == Setting.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                window = value
            else:
                self._obey(key, value)
        # Once a frame: 2,730 changes in one would be work for each stream.
        self._requests.resize_windows(window)
        self.settled = True
        self._streams.out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))  # 6.5.3
        self._requests.send_blocked()

    def _obey(self, key: int, value: int) -> None:
        """One setting (6.5.2); unknown ones are ignored."""
        if key == Setting.MAX_CONCURRENT_STREAMS:
            self.max_streams = value
        elif key == Setting.MAX_FRAME_SIZE:
            if not frames.MAX_FRAME <= value < 1 << 24:
                raise PeerError(ErrorCode.PROTOCOL_ERROR, f"frames of {value} bytes")
            self._requests.max_frame = value
        elif key == Setting.HEADER_TABLE_SIZE:
            self._requests.headers.peer_table_size(value)
        elif key == Setting.ENABLE_PUSH and value:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "a server that wants to be pushed to")

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        """PING (6.7)."""
        if stream:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "a bad PING")
        if not flags & frames.ACK:
            self._streams.out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif payload == _PING:
            self.unanswered_ping = False

    def _on_goaway(self, stream: int, payload: bytes) -> None:
        """GOAWAY (6.8): above the last id nothing was processed; at or below, answers are still to come."""
        if stream:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "a bad GOAWAY")
        last = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
        if last > self._last_processed:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "a GOAWAY that takes back an earlier one")
        self._last_processed = last
        code = int.from_bytes(payload[4:8], "big")
        self._stop(code)
        reason = f"the server closes this connection ({ErrorCode.name_of(code)})"
        for number, state in [item for item in self._streams.open.items() if item[0] > last]:
            self._streams.lose(number, state, Fate.NOT_SENT, reason)

    def _on_rst_stream(self, stream: int, payload: bytes) -> None:
        """RST_STREAM (6.4)."""
        if len(payload) != 4:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "a bad RST_STREAM")
        state = self._streams.open.get(stream)
        if state is None:
            self._streams.check_known(stream)
            return
        code = int.from_bytes(payload, "big")
        # 8.7: REFUSED_STREAM promises that nothing was processed. HTTP/1.1 is asked for instead of processing (7).
        untouched = code in {ErrorCode.REFUSED_STREAM, ErrorCode.HTTP_1_1_REQUIRED}
        reason = f"the server reset the request ({ErrorCode.name_of(code)})"
        self._streams.lose(stream, state, Fate.NOT_SENT if untouched else Fate.UNKNOWN, reason)
        self._streams.progress()  # one request less: a server that is overloaded may refuse all, and they may be many
        if code == ErrorCode.HTTP_1_1_REQUIRED:
            self._stop(code)

    def _stop(self, code: int) -> None:
        """Start nothing more; what is under way may still be answered."""
        self.draining = True
        if code == ErrorCode.HTTP_1_1_REQUIRED:
            self.http11 = True

    def _on_priority(self, stream: int, payload: bytes) -> None:
        """PRIORITY (6.3): deprecated, and checked for its form only."""
        if stream == 0:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on the connection")
        if len(payload) == 5:
            return
        state = self._streams.open.get(stream)
        if state is not None:
            self._streams.fail(stream, state, ErrorCode.FRAME_SIZE_ERROR, "a bad PRIORITY")
