"""What both directions of a connection share: open requests, what is to be sent and told, patience with the peer."""

from __future__ import annotations

import msgspec

from dispatcher.model import Fate
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import ErrorCode, PeerError
from dispatcher.protocol.http2.headers import Header

PATIENCE = 1000
"""Frames between two signs of progress that cost their sender nothing, past which a peer is a flood (10.5)."""

EACH = 8
"""Such frames that are borne on top for each open request."""

LATE = 8
"""Such frames that are borne on top for each stream that we reset: its answer may be on the way, in a few frames."""

MOST_LATE = 20 * PATIENCE
"""Of those that are borne at most: late answers to some thousand requests; what they cost us is a fraction of a second."""


class Answered(msgspec.Struct, gc=False):
    """An answer.

    Attributes:
        stream: the request it belongs to.
        status: HTTP status, never 1xx.
        headers: all of them, pseudo-headers too; none for a 200 whose block was not decoded (headers.py).
        body: as much of it as came.
        broken: why it is not whole; "": it is.
    """

    stream: int
    status: int
    headers: list[Header]
    body: bytes
    broken: str = ""


class Failed(msgspec.Struct, gc=False):
    """A request that gets no answer; `not_sent` if the server is known not to have processed it."""

    stream: int
    fate: Fate
    reason: str


class Closed(msgspec.Struct, gc=False):
    """The connection is of no more use; every open stream has had its last event before."""

    reason: str


Event = Answered | Failed | Closed


class Stream(msgspec.Struct, gc=False):
    """A request under way.

    Attributes:
        window: bytes of DATA that the peer takes on it; may be negative (6.9.2).
        unsent: what could not be sent yet; b"": the request is out, to its end.
        status: of the answer; 0: its headers have not come.
        headers: of the answer.
        body: of the answer, where it came in pieces.
        size: DATA received, padding included.
    """

    window: int
    unsent: bytes = b""
    status: int = 0
    headers: list[Header] = []
    body: bytearray | None = None
    size: int = 0


class Streams:
    """Open requests, and what they lead to.

    Attributes:
        open: by stream id.
        blocked: those of them whose body waits for a window, in order.
        next: id of the next request (5.1.1: ours are odd).
        out: bytes to be sent, in order.
        events: to be told, in order.
        held: bytes received for answers that are not whole yet.
    """

    def __init__(self) -> None:
        self.open: dict[int, Stream] = {}
        self.blocked: dict[int, Stream] = {}
        self.next = 1
        self.out: list[bytes] = []
        self.events: list[Event] = []
        self.held = 0
        # Of PATIENCE, which progress restores; and the frames that are borne beyond it for what we have reset, which
        # no progress makes more or fewer.
        self._spent = 0
        self._late = 0

    def spend(self, what: str) -> None:
        """Bear with one more frame that brings nothing forward; with a few more for each open request.

        A server may give every window back frame by frame, and say nothing else until its answers are ready.

        Raises:
            PeerError: ENHANCE_YOUR_CALM, there were too many.
        """
        if self._spent < PATIENCE + EACH * len(self.open):
            self._spent += 1
        elif self._late:
            self._late -= 1
        else:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, f"a flood of {what}")

    def progress(self) -> None:
        """Something came forward: patience is restored."""
        self._spent = 0

    def check_known(self, number: int) -> None:
        """Frames may still come for a stream that is over, never for one that was not opened (5.1).

        Raises:
            PeerError: PROTOCOL_ERROR.
        """
        if number % 2 == 0 or number >= self.next:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {number}, which was never open")

    def bear(self, number: int) -> None:
        """Bear with a part of an answer on a stream that is over.

        Which of those were reset by us (frames on the way must be borne) and which had ended (they must not) is
        not remembered, only how many the first are: more would take memory without end, and all that such frames
        can do is try our patience.

        Raises:
            PeerError: PROTOCOL_ERROR, the stream was never open; ENHANCE_YOUR_CALM, there were too many.
        """
        self.check_known(number)
        self.spend("frames on closed streams")

    def finish(self, number: int, state: Stream, body: bytes, broken: str = "") -> None:
        """The peer has ended its side."""
        self._drop(number, state)
        if state.unsent:
            # Answered before it was asked to the end: the rest is not wanted (8.1).
            self._reset(number, ErrorCode.CANCEL)
        self._spent = 0
        self.events.append(Answered(number, state.status, state.headers, body, broken))

    def fail(self, number: int, state: Stream, code: ErrorCode, reason: str) -> None:
        """A stream error of the peer (5.4.2): reset it; the other streams go on."""
        self._reset(number, code)
        self.lose(number, state, Fate.UNKNOWN, f"the server broke HTTP/2: {reason}")

    def give_up(self, number: int, state: Stream, reason: str) -> None:
        """An answer of which no more is wanted."""
        self._reset(number, ErrorCode.CANCEL)
        self.lose(number, state, Fate.UNKNOWN, reason)

    def lose(self, number: int, state: Stream, fate: Fate, reason: str) -> None:
        """A stream ends before its answer does."""
        self.events.append(self._end(number, state, fate, reason))

    def cancel(self, number: int, reason: str) -> Answered | Failed | None:
        """Give a request up; what is known of it, None: it is not open."""
        state = self.open.get(number)
        if state is None:
            return None
        self._reset(number, ErrorCode.CANCEL)
        return self._end(number, state, Fate.UNKNOWN, reason)

    def _end(self, number: int, state: Stream, fate: Fate, reason: str) -> Answered | Failed:
        """As much of the answer as came, for its status alone may say it all; or what is known without."""
        self._drop(number, state)
        if not state.status:
            return Failed(number, self.fate(state, fate), reason)
        body = bytes(state.body) if state.body is not None else b""
        return Answered(number, state.status, state.headers, body, reason)

    def _reset(self, number: int, code: ErrorCode) -> None:
        self.out.append(frames.rst_stream(number, code))
        self._late = min(self._late + LATE, MOST_LATE)

    def _drop(self, number: int, state: Stream) -> None:
        del self.open[number]
        self.held -= state.size
        if state.unsent:
            self.blocked.pop(number, None)

    @staticmethod
    def fate(state: Stream, otherwise: Fate) -> Fate:
        """A request whose last byte never left cannot have been understood: its JSON has no end."""
        return Fate.NOT_SENT if state.unsent and not state.status else otherwise
