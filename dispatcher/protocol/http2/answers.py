"""The way in: answers in HEADERS and DATA frames, as our windows allow (RFC 9113, 6.1, 6.2, 6.10 and 8.1)."""

from __future__ import annotations

from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import ErrorCode, PeerError
from dispatcher.protocol.http2.headers import MAX_HEADER_LIST, AnswerHeaders, Header, Malformed, shown
from dispatcher.protocol.http2.streams import Streams

STREAM_WINDOW = 256 << 10
"""Bytes an answer may have: no window is ever reopened for one stream, so this is the limit of its body."""

CONNECTION_WINDOW = 4 << 20
"""Bytes of answers that may be unfinished: those that are whole are given back, by halves of it. So this is the
memory that a peer can claim on one connection; honest answers have less than a KB."""

MAX_BLOCK = 2 * MAX_HEADER_LIST
"""Bytes of one header block as sent, CONTINUATION included; Huffman codes make one longer by at most 3.75, and
nobody's names and values are of such letters."""

_LENGTH_DIGITS = 20
"""Of a Content-Length: those of 2**64, and zeros before a shorter one."""


class Answers:
    """Reads the answers of one connection.

    Args:
        streams: shared with the way out.

    Attributes:
        headers: of answers, decoded where needed.
        inside_block: between HEADERS without END_HEADERS and its last CONTINUATION: nothing else may come (6.10).
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.headers = AnswerHeaders()
        self.inside_block = False
        # Of the block in pieces: stream, flags of its first frame, what came.
        self._stream = 0
        self._flags = 0
        self._block = bytearray()
        # DATA since the window of the connection was last reopened.
        self._received = 0

    def on_data(self, number: int, flags: int, payload: bytes) -> None:
        """DATA (6.1).

        Raises:
            PeerError: PROTOCOL_ERROR, FLOW_CONTROL_ERROR, or ENHANCE_YOUR_CALM for a flood of empty ones.
        """
        streams = self._streams
        length = len(payload)
        # All of it counts, padding and DATA on closed streams too (6.9.1).
        self._received += length
        if self._received > CONNECTION_WINDOW:
            raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
        state = streams.open.get(number)
        if state is None:
            streams.bear(number)
            return
        if flags & frames.PADDED:
            payload = unpadded(payload)
        state.size += length
        streams.held += length
        if not state.status:
            streams.fail(number, state, ErrorCode.PROTOCOL_ERROR, "data before the headers of the answer")
        elif state.size > STREAM_WINDOW:
            streams.fail(number, state, ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream's window")
        elif flags & frames.END_STREAM:
            if state.body is not None:
                state.body += payload
                payload = bytes(state.body)
            streams.finish(number, state, payload, _cut_short(state.headers, payload))
        elif payload:
            if state.body is None:
                state.body = bytearray()
            state.body += payload
            if state.size == STREAM_WINDOW:
                # It could wait for a window only: what came of it is told now, and not after the timeout.
                streams.give_up(number, state, f"{STREAM_WINDOW >> 10} KiB or more")
            streams.progress()
        else:
            streams.spend("DATA frames with nothing in them")

    def on_headers(self, number: int, flags: int, payload: bytes) -> None:
        """HEADERS (6.2).

        Raises:
            PeerError: PROTOCOL_ERROR, FRAME_SIZE_ERROR or COMPRESSION_ERROR.
        """
        if flags & frames.PADDED:
            payload = unpadded(payload)
        if flags & frames.WITH_PRIORITY:
            if len(payload) < 5:
                raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS with half a priority")
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._on_block(number, flags, payload)
        else:
            self.inside_block = True
            self._stream, self._flags, self._block = number, flags, bytearray(payload)

    def on_continuation(self, number: int, flags: int, payload: bytes) -> None:
        """CONTINUATION (6.10).

        Raises:
            PeerError: PROTOCOL_ERROR, COMPRESSION_ERROR, or ENHANCE_YOUR_CALM for a block without end (10.5.1).
        """
        if not self.inside_block or number != self._stream:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        if len(self._block) + len(payload) > MAX_BLOCK:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        self._block += payload
        if flags & frames.END_HEADERS:
            self.inside_block = False
            self._on_block(number, self._flags, bytes(self._block))
            self._block.clear()

    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        streams, ends = self._streams, flags & frames.END_STREAM
        state = streams.open.get(number)
        if state is None:
            streams.bear(number)
            self.headers.skip(block)
            return
        if state.status:
            # Trailers are of no interest, but they must be the end (8.1).
            self.headers.skip(block)
            if ends:
                body = bytes(state.body) if state.body is not None else b""
                streams.finish(number, state, body, _cut_short(state.headers, body))
            else:
                streams.fail(number, state, ErrorCode.PROTOCOL_ERROR, "a second header block")
            return
        try:
            status, headers = self.headers.read(block)
        except Malformed as error:
            streams.fail(number, state, ErrorCode.PROTOCOL_ERROR, str(error))
            return
        if status >= 200:
            state.status, state.headers = status, headers
            if ends:
                streams.finish(number, state, b"", _cut_short(headers, b""))
        elif ends or status == 101:
            # 8.1: an interim answer is not the end; 8.6: HTTP/2 switches no protocols.
            streams.fail(number, state, ErrorCode.PROTOCOL_ERROR, f"an answer of status {status}")
        else:
            streams.spend("interim answers")

    def reopen(self) -> None:
        """Give the connection's window back, as far as answers are over.

        However they ended, and whatever the peer sent last: with the window used up it may have nothing more to send.
        """
        free = self._received - self._streams.held
        if free > CONNECTION_WINDOW // 2:
            self._received -= free
            self._streams.out.append(frames.window_update(0, free))


def unpadded(payload: bytes) -> bytes:
    """A payload without its padding (6.1).

    Raises:
        PeerError: PROTOCOL_ERROR or FRAME_SIZE_ERROR.
    """
    if not payload:
        raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "padding of no length")
    if payload[0] >= len(payload):
        raise PeerError(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def _cut_short(headers: list[Header], body: bytes) -> str:
    """Why an answer is not what its Content-Length says (8.1.1); "": it is, or does not say."""
    for name, value in headers:  # all of them: several must not say different things
        if name == b"content-length" and not _is_length(value, len(body)):
            return f"{len(body)} bytes, and not {shown(value)}"
    return ""


def _is_length(text: bytes, length: int) -> bool:
    """Digits and nothing else (RFC 9110, 8.6), where `int` takes signs, blanks and underscores too."""
    return text.isdigit() and len(text) <= _LENGTH_DIGITS and int(text) == length
