"""The way in: whole answers, and every way in which they are not."""

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.answers import CONNECTION_WINDOW, MAX_BLOCK, STREAM_WINDOW
from dispatcher.protocol.http2.frames import ErrorCode
from dispatcher.protocol.http2.streams import EACH, PATIENCE, Answered, Closed, Failed

HEADERS = ((b":method", b"POST"), (b":path", b"/"))
END = frames.END_HEADERS | frames.END_STREAM
OK = b"\x88"
FLOOD = PATIENCE + 3 * EACH + 1
"""Frames, with three requests under way."""


def block(*headers: tuple[str, str]) -> bytes:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(headers)


def head(stream: int, payload: bytes = OK, flags: int = frames.END_HEADERS) -> bytes:
    return frames.frame(frames.HEADERS, flags, stream, payload)


def data(stream: int, payload: bytes, *, last: bool = False) -> bytes:
    return frames.frame(frames.DATA, frames.END_STREAM if last else 0, stream, payload)


@pytest.fixture
def connection(connect):
    """Three requests under way: 1, 3 and 5."""
    connection = connect()
    for _ in range(3):
        connection.request(HEADERS, b"body")
    connection.take()
    return connection


def resets(frames_of, connection) -> list[tuple[int, int]]:
    return [
        (stream, int.from_bytes(payload, "big"))
        for kind, _, stream, payload in frames_of(connection.take())
        if kind == frames.RST_STREAM
    ]


def test_answers_come_in_any_order_and_in_pieces(connection) -> None:
    events = connection.receive(head(5) + head(1) + data(5, b"fi") + data(1, b"one", last=True))
    assert events == [Answered(1, 200, [], b"one")]
    events = connection.receive(data(5, b"ve") + data(5, b"", last=True) + head(3, flags=END))
    assert events == [Answered(5, 200, [], b"five"), Answered(3, 200, [], b"")]
    assert connection.streams == 0


def test_padding_and_priority_are_taken_off(connection) -> None:
    flags = frames.END_HEADERS | frames.PADDED | frames.WITH_PRIORITY
    events = connection.receive(
        head(1, b"\x03" + bytes(5) + OK + b"pad", flags)
        + frames.frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\x02{}pp")
        + head(3)
        + frames.frame(frames.DATA, frames.PADDED | frames.END_STREAM, 3, b"\x00")
    )
    assert events == [Answered(1, 200, [], b"{}"), Answered(3, 200, [], b"")]


def test_interim_answers_and_trailers_change_nothing(connection) -> None:
    interim = head(1, block((":status", "103"), ("link", "x")))
    events = connection.receive(
        interim * 3 + head(1) + data(1, b"{}") + head(1, block(("x-trailer", "1")), END)
    )
    assert events == [Answered(1, 200, [], b"{}")]


def test_the_headers_of_other_answers_are_told(connection) -> None:
    events = connection.receive(
        head(1, block((":status", "429"), ("retry-after", "7"))) + data(1, b"{}", last=True)
    )
    assert events == [Answered(1, 429, [(b":status", b"429"), (b"retry-after", b"7")], b"{}")]


def test_a_block_may_come_in_pieces(connection) -> None:
    whole = block((":status", "404"), ("a", "b" * 100))
    pieces = [whole[n : n + 7] for n in range(0, len(whole), 7)]
    stream = head(1, pieces[0], frames.END_STREAM) + b"".join(
        frames.frame(frames.CONTINUATION, frames.END_HEADERS if p is pieces[-1] else 0, 1, p)
        for p in pieces[1:]
    )
    (answer,) = connection.receive(stream)
    assert (answer.status, answer.headers[1]) == (404, (b"a", b"b" * 100))


@pytest.mark.parametrize(
    ("lengths", "broken"),
    [
        (["2"], False),
        (["002"], False),
        (["2", "2"], False),
        (["3"], True),
        (["x"], True),
        ([""], True),
        (["²"], True),
        (["٢"], True),
        (["+2"], True),
        (["0_2"], True),
        (["2, 2"], True),
        (["2", "3"], True),
        (["2" * 21], True),
        (["0" * 6000 + "2"], True),
        (["2" + " \x1b" * 20 + "2"], True),
    ],
)
def test_an_answer_shorter_than_it_says_is_broken(connection, lengths: list[str], broken: bool) -> None:
    said = [("content-length", length) for length in lengths]
    (answer,) = connection.receive(head(1, block((":status", "404"), *said)) + data(1, b"{}", last=True))
    assert (answer.status, answer.body) == (404, b"{}")
    assert bool(answer.broken) is broken
    assert answer.broken.isprintable()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
        (head(1) + head(1), ErrorCode.PROTOCOL_ERROR),
        (head(1, block((":status", "100")), END), ErrorCode.PROTOCOL_ERROR),
        (head(1, block((":status", "101"))), ErrorCode.PROTOCOL_ERROR),
        (head(1, block(("date", "x"))), ErrorCode.PROTOCOL_ERROR),
        (head(1, block((":status", "404"), ("Upper", "x"))), ErrorCode.PROTOCOL_ERROR),
        (head(1, block((":status", "404"), ("content-length", " " * 20 + "1"))), ErrorCode.PROTOCOL_ERROR),
        (head(1, block((":status", "404"), ("date", "x\t"))), ErrorCode.PROTOCOL_ERROR),
        (head(1, block((":status", "404"), ("a:b", "x"))), ErrorCode.PROTOCOL_ERROR),
        (head(1, block((":status", "٤٠٤"))), ErrorCode.PROTOCOL_ERROR),
        (
            head(1) + data(1, b"x") + data(1, bytes(16384)) * (STREAM_WINDOW // 16384),
            ErrorCode.FLOW_CONTROL_ERROR,
        ),
        (head(1) + data(1, bytes(16384)) * (STREAM_WINDOW // 16384), ErrorCode.CANCEL),
    ],
)
def test_a_broken_answer_ends_only_its_stream(connection, frames_of, wrong: bytes, code: ErrorCode) -> None:
    events = connection.receive(wrong + head(3) + data(3, b"{}", last=True))
    assert resets(frames_of, connection) == [(1, code)]
    assert events[-1] == Answered(3, 200, [], b"{}")
    first = events[0]
    assert first.broken if isinstance(first, Answered) else first.fate is Fate.UNKNOWN
    assert len(events) == 2
    assert connection.receive(data(1, b"late")) == []  # what was under way when we reset it


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
        (data(7, b"x"), ErrorCode.PROTOCOL_ERROR),
        (data(2, b"x"), ErrorCode.PROTOCOL_ERROR),
        (head(0), ErrorCode.PROTOCOL_ERROR),
        (head(9), ErrorCode.PROTOCOL_ERROR),
        (head(1, b"\xff\xff\xff\xff\xff\xff\xff"), ErrorCode.COMPRESSION_ERROR),
        (head(1, b"\xbe"), ErrorCode.COMPRESSION_ERROR),
        (head(1, b"\x05", frames.PADDED), ErrorCode.PROTOCOL_ERROR),
        (head(1, b"", frames.PADDED), ErrorCode.FRAME_SIZE_ERROR),
        (head(1, b"\0\0", frames.WITH_PRIORITY), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.CONTINUATION, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (head(1, flags=0) + data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
        (head(1, flags=0) + frames.frame(77, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
        (head(1, flags=0) + frames.frame(frames.CONTINUATION, 4, 3, b"x"), ErrorCode.PROTOCOL_ERROR),
        (frames.head(16_385, frames.DATA, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
        (
            head(1, flags=0)
            + frames.frame(frames.CONTINUATION, 0, 1, bytes(16_384)) * (MAX_BLOCK // 16_384 + 1),
            ErrorCode.ENHANCE_YOUR_CALM,
        ),
        (
            head(1, flags=0) + frames.frame(frames.CONTINUATION, 0, 1) * FLOOD,
            ErrorCode.ENHANCE_YOUR_CALM,
        ),
        (head(1) + data(1, b"") * FLOOD, ErrorCode.ENHANCE_YOUR_CALM),
        (head(1, block((":status", "103"))) * FLOOD, ErrorCode.ENHANCE_YOUR_CALM),
        (head(1, flags=END) + head(1) * FLOOD, ErrorCode.ENHANCE_YOUR_CALM),
    ],
    ids=lambda value: value.name if isinstance(value, ErrorCode) else None,
)
def test_a_broken_rule_of_the_connection_ends_it(connection, frames_of, wrong: bytes, code) -> None:
    events = connection.receive(wrong)
    goodbye = frames_of(connection.take())[-1]
    assert (goodbye[0], int.from_bytes(goodbye[3][4:8], "big")) == (frames.GOAWAY, code)
    assert isinstance(events[-1], Closed)
    ended = [event.stream for event in events[:-1]]
    assert sorted(ended) == [1, 3, 5]
    assert all(not isinstance(e, Failed) or e.fate is Fate.UNKNOWN for e in events[:-1])
    assert connection.receive(head(3)) == []
    assert connection.room == 0


def given_back(frames_of, connection) -> int:
    return sum(
        int.from_bytes(payload, "big")
        for kind, _, stream, payload in frames_of(connection.take())
        if (kind, stream) == (frames.WINDOW_UPDATE, 0)
    )


def test_the_window_is_given_back_as_answers_become_whole(connect, frames_of) -> None:
    connection, back = connect(), 0
    for _ in range(3 * CONNECTION_WINDOW // 16_384 // 4):
        stream = connection.request(HEADERS, b"b")
        events = connection.receive(head(stream) + data(stream, bytes(16_384)) * 4)
        events += connection.receive(data(stream, b"", last=True))
        assert [type(event) for event in events] == [Answered]
        back += given_back(frames_of, connection)
    assert back > 2 * CONNECTION_WINDOW


@pytest.mark.parametrize("how", ["given up", "reset", "trailers", "answered by others"])
def test_the_window_is_given_back_however_answers_end(connect, frames_of, how: str) -> None:
    # The peer has used it up, and cannot send DATA before it has some back.
    connection = connect({3: 1000})
    streams = [connection.request(HEADERS, b"b") for _ in range(CONNECTION_WINDOW // 16_384)]
    connection.take()
    for stream in streams:
        assert connection.receive(head(stream) + data(stream, bytes(16_384))) == []
        assert given_back(frames_of, connection) == 0
    back = 0
    for stream in streams:
        if how == "given up":
            connection.cancel(stream, "late")
        elif how == "reset":
            connection.receive(frames.rst_stream(stream, ErrorCode.INTERNAL_ERROR))
        elif how == "trailers":
            connection.receive(head(stream, block(("x-trailer", "1")), END))
        else:
            connection.receive(head(stream))
        back += given_back(frames_of, connection)
    assert connection.streams == 0
    assert back > CONNECTION_WINDOW // 2
    assert not connection.closed


def test_an_answer_that_fills_its_window_is_told_at_once(connection) -> None:
    headers = block((":status", "502"))
    (answer,) = connection.receive(head(1, headers) + data(1, bytes(16_384)) * (STREAM_WINDOW // 16_384))
    assert (answer.status, len(answer.body), answer.broken) == (502, STREAM_WINDOW, "256 KiB or more")


def test_what_is_not_whole_is_never_given_back(connect, frames_of) -> None:
    # This is what a peer can make us hold.
    connection = connect({3: 1000})
    streams = [connection.request(HEADERS, b"b") for _ in range(CONNECTION_WINDOW // (16_384 * 15) + 1)]
    connection.take()
    events = []
    for stream in streams:
        events += connection.receive(head(stream) + data(stream, bytes(16_384)) * 15)
    assert isinstance(events[-1], Closed)
    assert "window" in events[-1].reason
    assert [kind for kind, _, _, _ in frames_of(connection.take())] == [frames.GOAWAY]


@given(st.lists(st.integers(1, 60), max_size=40), st.data())
def test_how_the_bytes_are_cut_makes_no_difference(connect, cuts: list[int], draw) -> None:
    connection, other = connect(), connect()
    for one in (connection, other):
        for _ in range(3):
            one.request(HEADERS, b"body")
    stream = (
        head(3, block((":status", "404"), ("a", "b" * 50)))
        + data(3, b"x" * 100)
        + frames.frame(frames.PING, 0, 0, bytes(8))
        + head(1)
        + data(1, b"one", last=True)
        + data(3, b"", last=True)
        + head(5, flags=0)
        + frames.frame(frames.CONTINUATION, frames.END_HEADERS, 5)
        + data(5, b"5", last=True)
    )
    events, rest = [], stream
    for cut in cuts:
        events += connection.receive(rest[:cut])
        rest = rest[cut:]
    for byte in rest:
        events += connection.receive(bytes([byte]))
    assert events == other.receive(stream)
    assert connection.take() == other.take()
