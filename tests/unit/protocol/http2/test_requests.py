"""The way out: bodies as the peer's windows and frames allow."""

import pytest

from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import ErrorCode, PeerError
from dispatcher.protocol.http2.requests import Requests
from dispatcher.protocol.http2.streams import Failed, Streams

HEADERS = ((b":method", b"POST"), (b":path", b"/"))


class Sender:
    """A way out, and what left by it."""

    def __init__(self, frames_of, *, initial: int = frames.DEFAULT_WINDOW, window: int = 1 << 20) -> None:
        self.streams = Streams()
        self.requests = Requests(self.streams)
        self.requests.initial_window = initial
        self.requests.window = window
        self._frames_of = frames_of

    def left(self) -> list[tuple[int, int, int, bytes]]:
        data = b"".join(self.streams.out)
        self.streams.out.clear()
        return self._frames_of(data)

    def data(self) -> list[tuple[int, int, bool]]:
        """DATA that left: stream, size, whether it is the end."""
        return [(s, len(p), bool(f & 1)) for kind, f, s, p in self.left() if kind == frames.DATA]

    def grant(self, stream: int, size: int) -> None:
        self.requests.on_window_update(stream, size.to_bytes(4, "big"))


def test_a_request_is_two_frames(frames_of) -> None:
    sender = Sender(frames_of)
    assert [sender.requests.start(HEADERS, b"body") for _ in range(3)] == [1, 3, 5]
    left = sender.left()
    assert [(kind, flags, stream) for kind, flags, stream, _ in left] == [
        (kind, flag, stream) for stream in (1, 3, 5) for kind, flag in ((1, 4), (0, 1))
    ]
    assert left[1][3] == b"body"
    assert sender.requests.window == (1 << 20) - 12


def test_a_body_larger_than_a_frame_goes_in_pieces(frames_of) -> None:
    sender = Sender(frames_of)
    sender.requests.start(HEADERS, bytes(40_000))
    assert sender.data() == [(1, 16_384, False), (1, 16_384, False), (1, 7232, True)]
    assert not sender.streams.blocked


def test_a_header_block_larger_than_a_frame_is_continued(frames_of) -> None:
    sender = Sender(frames_of)
    sender.requests.start((*HEADERS, (b"x", b"\x01" * 40_000)), b"b")
    kinds = [(kind, flags) for kind, flags, _, _ in sender.left()]
    assert kinds[0] == (frames.HEADERS, 0)
    assert set(kinds[1:-2]) == {(frames.CONTINUATION, 0)}
    assert kinds[-2:] == [(frames.CONTINUATION, frames.END_HEADERS), (frames.DATA, frames.END_STREAM)]


def test_a_streams_own_window_stops_only_itself(frames_of) -> None:
    sender = Sender(frames_of, initial=10)
    sender.requests.start(HEADERS, bytes(15))
    sender.requests.start(HEADERS, bytes(10))
    assert sender.data() == [(1, 10, False), (3, 10, True)]
    sender.grant(3, 100)
    assert sender.data() == []
    sender.grant(1, 4)
    sender.grant(1, 4)
    assert sender.data() == [(1, 4, False), (1, 1, True)]


def test_the_connections_window_stops_all_and_the_oldest_goes_first(frames_of) -> None:
    sender = Sender(frames_of, window=10)
    for _ in range(3):
        sender.requests.start(HEADERS, bytes(8))
    assert sender.data() == [(1, 8, True), (3, 2, False)]
    sender.grant(0, 7)
    assert sender.data() == [(3, 6, True), (5, 1, False)]
    sender.grant(0, 100)
    assert sender.data() == [(5, 7, True)]


def test_a_window_may_shrink_below_zero(frames_of) -> None:
    sender = Sender(frames_of, initial=10)
    sender.requests.start(HEADERS, bytes(30))
    sender.requests.resize_windows(0)
    sender.grant(1, 10)
    sender.left()
    assert sender.streams.open[1].window == 0
    sender.grant(1, 5)
    assert sender.data() == [(1, 5, False)]
    sender.requests.resize_windows(100)
    sender.requests.send_blocked()
    assert sender.data() == [(1, 15, True)]


@pytest.mark.parametrize(
    ("stream", "payload", "code"),
    [
        (0, "00000000", ErrorCode.PROTOCOL_ERROR),
        (0, "7fffffff", ErrorCode.FLOW_CONTROL_ERROR),
        (0, "000001", ErrorCode.FRAME_SIZE_ERROR),
        (1, "0000000001", ErrorCode.FRAME_SIZE_ERROR),
        (7, "00000001", ErrorCode.PROTOCOL_ERROR),
        (2, "00000001", ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_bad_windows_end_the_connection(frames_of, stream: int, payload: str, code: ErrorCode) -> None:
    sender = Sender(frames_of)
    sender.requests.start(HEADERS, b"b")
    with pytest.raises(PeerError) as caught:
        sender.requests.on_window_update(stream, bytes.fromhex(payload))
    assert caught.value.code == code


@pytest.mark.parametrize(("size", "code"), [(0, 1), (0x7FFFFFFF, 3)])
def test_bad_windows_of_a_stream_end_the_stream(frames_of, size: int, code: int) -> None:
    sender = Sender(frames_of)
    sender.requests.start(HEADERS, b"b")
    sender.left()
    sender.grant(1, size)
    assert sender.left() == [(frames.RST_STREAM, 0, 1, code.to_bytes(4, "big"))]
    assert isinstance(sender.streams.events[0], Failed)


def test_a_settings_change_may_not_lift_a_window_beyond_its_limit(frames_of) -> None:
    sender = Sender(frames_of, initial=10)
    sender.requests.start(HEADERS, b"b")
    sender.grant(1, frames.MAX_WINDOW - 10)
    with pytest.raises(PeerError) as caught:
        sender.requests.resize_windows(100)
    assert caught.value.code == ErrorCode.FLOW_CONTROL_ERROR


def test_what_is_given_up_waits_no_more(frames_of) -> None:
    sender = Sender(frames_of, initial=0)
    for _ in range(50):
        sender.streams.cancel(sender.requests.start(HEADERS, b"b"), "late")
    assert not sender.streams.blocked
    assert not sender.streams.open
