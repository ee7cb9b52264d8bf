"""The way out: header blocks and bodies, as the peer's windows and frame sizes allow (RFC 9113, 5.2 and 6.9)."""

from __future__ import annotations

from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import ErrorCode, PeerError
from dispatcher.protocol.http2.headers import Header, RequestHeaders
from dispatcher.protocol.http2.streams import Stream, Streams

WORTH_IT = 1024
"""Bytes that a window must let out to count as progress; less is a peer that lets us drip."""


class Requests:
    """Sends the requests of one connection.

    Args:
        streams: shared with the way in.

    Attributes:
        window: bytes of DATA that the peer takes on all streams together (6.9.1).
        initial_window: the same for a new stream (6.5.2).
        max_frame: the largest payload that the peer takes (4.2).
        headers: of requests, encoded.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.max_frame = frames.MAX_FRAME
        self.headers = RequestHeaders()

    def start(self, headers: tuple[Header, ...], body: bytes) -> int:
        """Send a request, or as much of it as may be sent.

        Args:
            headers: pseudo-headers first, names in lower case (8.2, 8.3).
            body: not empty.

        Returns:
            Its stream id.
        """
        streams = self._streams
        number = streams.next
        streams.next = number + 2
        block = self.headers.block(headers)
        length = len(body)
        out = streams.out
        if len(block) <= self.max_frame:
            out += (frames.head(len(block), frames.HEADERS, frames.END_HEADERS, number), block)
        else:
            self._send_long_block(number, block)
        # If anybody waits while this window is open, it is for a window of its own: nobody is overtaken.
        if length <= self.window and length <= self.initial_window and length <= self.max_frame:
            self.window -= length
            out += (frames.head(length, frames.DATA, frames.END_STREAM, number), body)
            streams.open[number] = Stream(self.initial_window - length)
        else:
            state = streams.open[number] = streams.blocked[number] = Stream(self.initial_window, body)
            self._send(number, state)
        return number

    def on_window_update(self, number: int, payload: bytes) -> None:
        """WINDOW_UPDATE (6.9).

        Raises:
            PeerError: FRAME_SIZE_ERROR, PROTOCOL_ERROR or FLOW_CONTROL_ERROR for the whole connection.
        """
        if len(payload) != 4:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, "a bad WINDOW_UPDATE")
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
        if number == 0:
            if not increment or self.window + increment > frames.MAX_WINDOW:
                raise PeerError(code, f"a window change by {increment}")
            self.window += increment
            self.send_blocked()
            return
        state = self._streams.open.get(number)
        if state is None:
            self._streams.check_known(number)
        elif not increment or state.window + increment > frames.MAX_WINDOW:
            self._streams.fail(number, state, code, f"a window change by {increment}")
        else:
            state.window += increment
            if state.unsent:
                self._send(number, state)

    def resize_windows(self, size: int) -> None:
        """INITIAL_WINDOW_SIZE changes open streams by as much, below zero if need be (6.9.2).

        Raises:
            PeerError: FLOW_CONTROL_ERROR.
        """
        change, self.initial_window = size - self.initial_window, size
        for state in self._streams.open.values():
            state.window += change
            if state.window > frames.MAX_WINDOW:
                raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond its limit")

    def send_blocked(self) -> None:
        """Send of the waiting bodies what the windows allow, oldest first; one stream's window stops only itself."""
        for number, state in list(self._streams.blocked.items()):
            if self.window <= 0:
                return
            self._send(number, state)

    def _send(self, number: int, state: Stream) -> None:
        """Send of one body what the windows allow."""
        body = state.unsent
        size = min(len(body), self.window, state.window)
        if size <= 0:
            return
        for start in range(0, size, self.max_frame):
            piece = body[start : min(start + self.max_frame, size)]
            flags = frames.END_STREAM if start + len(piece) == len(body) else 0
            self._streams.out.append(frames.frame(frames.DATA, flags, number, piece))
        self.window -= size
        state.window -= size
        state.unsent = body[size:]
        if not state.unsent:
            del self._streams.blocked[number]
        if size >= WORTH_IT or not state.unsent:
            self._streams.progress()

    def _send_long_block(self, number: int, block: bytes) -> None:
        """A header block larger than a frame, in pieces that nothing may come between (4.3, 6.10)."""
        size = self.max_frame
        for start in range(0, len(block), size):
            kind = frames.CONTINUATION if start else frames.HEADERS
            flags = frames.END_HEADERS if start + size >= len(block) else 0
            self._streams.out.append(frames.frame(kind, flags, number, block[start : start + size]))
