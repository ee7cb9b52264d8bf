"""One HTTP/2 connection, the client's side: bytes in, answers and bytes out; no socket, no clock (RFC 9113).

Made for unary POSTs: a request is given whole, an answer comes whole. What the peer may do wrong ends in a value:
`receive` raises nothing, a broken rule closes the connection with the right code. For each request that ends without
an answer it is told whether the server may have processed it, since only then a repetition may duplicate a message.
"""

from __future__ import annotations

from collections import deque

import msgspec

from dispatcher.model import Fate
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import ErrorCode, PeerError, Setting
from dispatcher.protocol.http2.headers import MAX_HEADER_LIST, AnswerHeaders, Header, RequestHeaders

ASSUMED_STREAMS = 100
"""Streams at once until the peer's SETTINGS say otherwise: Google's limit; more ends in GOAWAY (quota notes, 6)."""

STREAM_WINDOW = 1 << 20
"""Bytes an answer may have: no window is ever reopened for one stream, so this is the limit of its body."""

CONNECTION_WINDOW = 16 << 20
"""Bytes of all answers that may be under way; reopened when half of it is used."""

MAX_BLOCK = 2 * MAX_HEADER_LIST
"""Bytes of one header block as sent, CONTINUATION included."""

IDLE_FRAMES = 1000
"""Control frames between two signs of progress, past which a peer is a flood (ENHANCE_YOUR_CALM)."""


class Answered(msgspec.Struct, gc=False):
    """An answer. `headers` is empty for a 200 (see headers.py)."""

    stream: int
    status: int
    headers: list[Header]
    body: bytes


class Failed(msgspec.Struct, gc=False):
    """A request that gets no answer; `not_sent` if the server is known not to have processed it."""

    stream: int
    fate: Fate
    reason: str


class Closed(msgspec.Struct, gc=False):
    """The connection is of no more use; every open stream has had its `Failed` before."""

    reason: str
    http11: bool = False


Event = Answered | Failed | Closed


class _Stream(msgspec.Struct, gc=False):
    """A request under way: what was read of the answer, and what could not be sent yet."""

    window: int
    unsent: bytes = b""
    status: int = 0
    headers: list[Header] = []
    body: list[bytes] = []
    size: int = 0


class Connection:
    """One connection; `take()` what is to be sent after every call.

    Attributes:
        streams: requests under way.
        draining: no new requests: GOAWAY, ids used up, or closed.
        settled: the peer's SETTINGS have come.
        unanswered_pings: PINGs of ours that have not come back.
    """

    def __init__(self) -> None:
        self.draining = False
        self.settled = False
        self.unanswered_pings = 0
        self._closed = False
        self._next = 1
        self._streams: dict[int, _Stream] = {}
        self._requests = RequestHeaders()
        self._answers = AnswerHeaders()
        self._unacknowledged = 1
        self._max_streams = ASSUMED_STREAMS
        self._max_frame = frames.MAX_FRAME
        self._initial_window = frames.DEFAULT_WINDOW
        self._window = frames.DEFAULT_WINDOW
        self._received = 0
        # Streams whose body waits for a window, in order.
        self._blocked: deque[int] = deque()
        # A header block in pieces: (stream, flags of its first frame, pieces, size).
        self._block: tuple[int, int, list[bytes], int] | None = None
        self._idle = 0
        self._buffer = b""
        self._out = [
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
        return len(self._streams)

    @property
    def room(self) -> int:
        """Requests that may be started now."""
        if self.draining:
            return 0
        return max(0, self._max_streams - len(self._streams))

    def take(self) -> bytes:
        """What is to be sent, in order; b"" if nothing is."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def request(self, headers: tuple[Header, ...], body: bytes) -> int:
        """Start a request; only while there is `room`.

        Args:
            headers: pseudo-headers first, names in lower case; the same object for the same headers is cheap.
            body: not empty.

        Returns:
            Its stream id.
        """
        stream = self._next
        self._next += 2
        if self._next > frames.MAX_STREAM_ID:
            self.draining = True
        block = self._requests.block(headers)
        length = len(body)
        out = self._out
        if len(block) <= self._max_frame:
            out += (frames.head(len(block), frames.HEADERS, frames.END_HEADERS, stream), block)
        else:
            self._send_long_block(stream, block)
        if (
            not self._blocked
            and length <= self._window
            and length <= self._initial_window
            and length <= self._max_frame
        ):
            self._window -= length
            out += (frames.head(length, frames.DATA, frames.END_STREAM, stream), body)
            self._streams[stream] = _Stream(self._initial_window - length)
        else:
            self._streams[stream] = _Stream(self._initial_window, body)
            self._blocked.append(stream)
            self._send_blocked()
        return stream

    def cancel(self, stream: int) -> None:
        """Give a request up; whether the server has processed it is unknown. Nothing more is told of it."""
        if self._streams.pop(stream, None) is not None:
            self._out.append(frames.rst_stream(stream, ErrorCode.CANCEL))

    def ping(self) -> None:
        """Ask for a sign of life; `unanswered_pings` tells whether it came."""
        self.unanswered_pings += 1
        self._out.append(frames.frame(frames.PING, 0, 0, b"dispatch"))

    def close(self) -> None:
        """Say goodbye; requests under way are cut off without an event."""
        if not self._closed:
            self.draining = self._closed = True
            self._out.append(frames.goaway(0, ErrorCode.NO_ERROR))
            self._streams.clear()

    def lost(self, reason: str) -> list[Event]:
        """The transport below is gone."""
        return [] if self._closed else self._end(reason, Fate.UNKNOWN)

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; raises nothing, whatever they are."""
        if self._closed:
            return []
        events: list[Event] = []
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        try:
            while end - at >= 9:
                word = int.from_bytes(buffer[at : at + 9], "big")
                length = word >> 48
                if length > frames.MAX_FRAME:
                    raise PeerError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
                if end - at < 9 + length:
                    break
                kind, flags, stream = word >> 40 & 0xFF, word >> 32 & 0xFF, word & 0x7FFFFFFF
                payload = buffer[at + 9 : at + 9 + length]
                at += 9 + length
                if kind == frames.DATA and self._block is None and self.settled:
                    self._on_data(flags, stream, payload, events)
                else:
                    self._on_frame(kind, flags, stream, payload, events)
                if self._closed:
                    return events
        except PeerError as error:
            self._out.append(frames.goaway(0, error.code, str(error)))
            return events + self._end(f"the server broke HTTP/2: {error}", Fate.UNKNOWN)
        self._buffer = buffer[at:]
        if self.draining and not self._streams and not self._closed:
            self._out.append(frames.goaway(0, ErrorCode.NO_ERROR))
            events += self._end("the server closes this connection", Fate.NOT_SENT)
        return events

    def _end(self, reason: str, fate: Fate, *, http11: bool = False) -> list[Event]:
        """Close; what is under way shares this fate."""
        self.draining = self._closed = True
        events: list[Event] = [Failed(stream, fate, reason) for stream in self._streams]
        self._streams.clear()
        self._blocked.clear()
        events.append(Closed(reason, http11))
        return events

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes, events: list[Event]) -> None:
        if not self.settled and (kind != frames.SETTINGS or flags & frames.ACK):
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._block is not None and (kind != frames.CONTINUATION or stream != self._block[0]):
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
        if kind == frames.HEADERS:
            self._on_headers(flags, stream, payload, events)
            return
        # Everything else may be sent without end at no cost to the sender.
        self._idle += 1
        if self._idle > IDLE_FRAMES:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "a flood of control frames")
        if kind == frames.CONTINUATION:
            self._on_continuation(flags, payload, events)
        elif kind == frames.SETTINGS:
            self._on_settings(flags, stream, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(stream, payload, events)
        elif kind == frames.RST_STREAM:
            self._on_rst_stream(stream, payload, events)
        elif kind == frames.PING:
            self._on_ping(flags, stream, payload)
        elif kind == frames.GOAWAY:
            self._on_goaway(stream, payload, events)
        elif kind == frames.PUSH_PROMISE:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "a push, which we have switched off")
        elif kind == frames.PRIORITY and (stream == 0 or len(payload) != 5):
            raise PeerError(
                ErrorCode.PROTOCOL_ERROR if stream == 0 else ErrorCode.FRAME_SIZE_ERROR, "a bad PRIORITY"
            )
        # Unknown types are ignored (section 4.1).

    # Answers.

    def _on_data(self, flags: int, stream: int, payload: bytes, events: list[Event]) -> None:
        length = len(payload)
        self._received += length
        if self._received > CONNECTION_WINDOW:
            raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if self._received > CONNECTION_WINDOW // 2:
            self._out.append(frames.window_update(0, self._received))
            self._received = 0
        state = self._streams.get(stream)
        if state is None:
            self._check_known(stream)
            return
        if not state.status:
            self._fail_stream(stream, ErrorCode.PROTOCOL_ERROR, "data before the headers", events)
            return
        state.size += length
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if state.size > STREAM_WINDOW:
            self._fail_stream(stream, ErrorCode.FLOW_CONTROL_ERROR, "the answer is too large", events)
            return
        if flags & frames.END_STREAM:
            self._idle = 0
            body = b"".join([*state.body, payload]) if state.body else payload
            self._finish(stream, state, body, events)
        elif payload:
            self._idle = 0
            state.body = [*state.body, payload]
        else:
            self._idle += 1
            if self._idle > IDLE_FRAMES:
                raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "a flood of empty DATA frames")

    def _on_headers(self, flags: int, stream: int, payload: bytes, events: list[Event]) -> None:
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.WITH_PRIORITY:
            if len(payload) < 5:
                raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS with half a priority")
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._on_block(stream, flags, payload, events)
        else:
            self._block = (stream, flags, [payload], len(payload))

    def _on_continuation(self, flags: int, payload: bytes, events: list[Event]) -> None:
        if self._block is None:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        stream, first_flags, pieces, size = self._block
        size += len(payload)
        if size > MAX_BLOCK:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        pieces.append(payload)
        if flags & frames.END_HEADERS:
            self._block = None
            self._on_block(stream, first_flags, b"".join(pieces), events)
        else:
            self._block = (stream, first_flags, pieces, size)

    def _on_block(self, stream: int, flags: int, block: bytes, events: list[Event]) -> None:
        state = self._streams.get(stream)
        if state is None:
            self._check_known(stream)
            if not self._answers.self_contained:
                self._answers.decode(block)  # later blocks may build on it
            return
        if state.status:
            # Trailers: of no interest, but they must be the end.
            if not self._answers.self_contained:
                self._answers.decode(block)
            if not flags & frames.END_STREAM:
                self._fail_stream(stream, ErrorCode.PROTOCOL_ERROR, "a second header block", events)
                return
        else:
            status, headers = self._answers.read(block)
            if 100 <= status < 200:
                self._idle += 1
                if flags & frames.END_STREAM or self._idle > IDLE_FRAMES:
                    raise PeerError(ErrorCode.PROTOCOL_ERROR, f"an answer of status {status}")
                return
            state.status, state.headers = status, headers
        if flags & frames.END_STREAM:
            self._idle = 0
            self._finish(stream, state, b"".join(state.body), events)

    def _finish(self, stream: int, state: _Stream, body: bytes, events: list[Event]) -> None:
        del self._streams[stream]
        if state.unsent:
            # Answered before it was asked to the end: the rest is not wanted.
            self._out.append(frames.rst_stream(stream, ErrorCode.CANCEL))
        events.append(Answered(stream, state.status, state.headers, body))

    def _fail_stream(self, stream: int, code: ErrorCode, reason: str, events: list[Event]) -> None:
        """A stream error of the peer (section 5.4.2); the server had the request."""
        del self._streams[stream]
        self._out.append(frames.rst_stream(stream, code))
        events.append(Failed(stream, Fate.UNKNOWN, reason))

    def _check_known(self, stream: int) -> None:
        """Frames may still come for a stream that we have given up, never for one that we have not opened."""
        if stream == 0 or stream % 2 == 0 or stream >= self._next:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {stream}, which is not open")
        self._idle += 1
        if self._idle > IDLE_FRAMES:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "a flood of frames on closed streams")

    # The connection.

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with content")
            if self._unacknowledged:
                self._unacknowledged = 0
                self._answers.acknowledged()
            return
        if len(payload) % 6:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "half a setting")
        for start in range(0, len(payload), 6):
            key = int.from_bytes(payload[start : start + 2], "big")
            self._obey(key, int.from_bytes(payload[start + 2 : start + 6], "big"))
        self.settled = True
        self._out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._send_blocked()

    def _obey(self, key: int, value: int) -> None:
        if key == Setting.MAX_CONCURRENT_STREAMS:
            self._max_streams = value
        elif key == Setting.INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
            change, self._initial_window = value - self._initial_window, value
            for state in self._streams.values():
                state.window += change
                if state.window > frames.MAX_WINDOW:
                    raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond its limit")
        elif key == Setting.MAX_FRAME_SIZE:
            if not frames.MAX_FRAME <= value < 1 << 24:
                raise PeerError(ErrorCode.PROTOCOL_ERROR, f"frames of {value} bytes")
            self._max_frame = value
        elif key == Setting.HEADER_TABLE_SIZE:
            self._requests.peer_table_size(value)
        elif key == Setting.ENABLE_PUSH and value:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "a server that wants to be pushed to")

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "a bad PING")
        if flags & frames.ACK:
            self.unanswered_pings = 0
        else:
            self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _on_goaway(self, stream: int, payload: bytes, events: list[Event]) -> None:
        if stream:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "a bad GOAWAY")
        last = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
        code = int.from_bytes(payload[4:8], "big")
        self.draining = True
        reason = f"the server closes this connection ({ErrorCode.name_of(code)})"
        # Above the last id nothing was processed (section 6.8); at or below, answers are still to come.
        for number in [number for number in self._streams if number > last]:
            del self._streams[number]
            events.append(Failed(number, Fate.NOT_SENT, reason))
        if code == ErrorCode.HTTP_1_1_REQUIRED:
            events += self._end(reason, Fate.UNKNOWN, http11=True)

    def _on_rst_stream(self, stream: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) != 4:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "a bad RST_STREAM")
        if stream not in self._streams:
            self._check_known(stream)
            return
        del self._streams[stream]
        code = int.from_bytes(payload, "big")
        untouched = code in (ErrorCode.REFUSED_STREAM, ErrorCode.HTTP_1_1_REQUIRED)
        reason = f"the server reset the request ({ErrorCode.name_of(code)})"
        events.append(Failed(stream, Fate.NOT_SENT if untouched else Fate.UNKNOWN, reason))
        if code == ErrorCode.HTTP_1_1_REQUIRED:
            events += self._end(reason, Fate.UNKNOWN, http11=True)

    def _on_window_update(self, stream: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) != 4:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "a bad WINDOW_UPDATE")
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if stream == 0:
            self._window += increment
            if not increment or self._window > frames.MAX_WINDOW:
                code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
                raise PeerError(code, f"a window change by {increment}")
        else:
            state = self._streams.get(stream)
            if state is None:
                self._check_known(stream)
                return
            state.window += increment
            if not increment or state.window > frames.MAX_WINDOW:
                code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
                self._fail_stream(stream, code, f"a window change by {increment}", events)
                return
        self._send_blocked()

    # Sending what had to wait.

    def _send_long_block(self, stream: int, block: bytes) -> None:
        """A header block larger than a frame, in pieces that nothing may come between (section 6.10)."""
        size = self._max_frame
        pieces = [block[start : start + size] for start in range(0, len(block), size)]
        for number, piece in enumerate(pieces):
            kind = frames.CONTINUATION if number else frames.HEADERS
            flags = frames.END_HEADERS if number == len(pieces) - 1 else 0
            self._out.append(frames.frame(kind, flags, stream, piece))

    def _send_blocked(self) -> None:
        """Send of the waiting bodies what the windows allow, oldest first; one stream's window stops only itself."""
        for _ in range(len(self._blocked)):
            if self._window <= 0:
                return
            stream = self._blocked.popleft()
            state = self._streams.get(stream)
            if state is None:
                continue
            while state.unsent and self._window > 0 and state.window > 0:
                piece = state.unsent[: min(self._window, state.window, self._max_frame)]
                state.unsent = state.unsent[len(piece) :]
                self._window -= len(piece)
                state.window -= len(piece)
                flags = 0 if state.unsent else frames.END_STREAM
                self._out.append(frames.frame(frames.DATA, flags, stream, piece))
            if state.unsent:
                self._blocked.append(stream)


def _unpadded(payload: bytes) -> bytes:
    """A payload without its padding (section 6.1)."""
    if not payload or payload[0] >= len(payload):
        raise PeerError(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]
