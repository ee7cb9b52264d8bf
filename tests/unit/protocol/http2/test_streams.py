"""Open requests: their ends, and patience with the peer."""

import pytest

from dispatcher.model import Fate
from dispatcher.protocol.http2.frames import ErrorCode, PeerError
from dispatcher.protocol.http2.streams import (
    EACH,
    LATE,
    MOST_LATE,
    PATIENCE,
    Answered,
    Failed,
    Stream,
    Streams,
)


def with_stream(**state: object) -> tuple[Streams, Stream]:
    streams = Streams()
    stream = streams.open[1] = Stream(100, **state)
    streams.next = 3
    streams.held = stream.size
    if stream.unsent:
        streams.blocked[1] = stream
    return streams, stream


@pytest.mark.parametrize(
    ("unsent", "told", "fate"),
    [
        (b"", Fate.UNKNOWN, Fate.UNKNOWN),
        (b"", Fate.NOT_SENT, Fate.NOT_SENT),
        (b"}", Fate.UNKNOWN, Fate.NOT_SENT),
    ],
)
def test_a_request_whose_last_byte_never_left_was_not_sent(unsent: bytes, told: Fate, fate: Fate) -> None:
    streams, stream = with_stream(unsent=unsent)
    streams.lose(1, stream, told, "why")
    assert streams.events == [Failed(1, fate, "why")]
    assert not streams.open
    assert not streams.blocked


def test_what_had_arrived_of_an_answer_is_told() -> None:
    streams, stream = with_stream(status=404, body=bytearray(b'{"err'), size=5)
    streams.lose(1, stream, Fate.NOT_SENT, "lost")
    assert streams.events == [Answered(1, 404, [], b'{"err', "lost")]
    assert streams.held == 0


def test_giving_up_says_what_is_known() -> None:
    assert with_stream()[0].cancel(1, "late") == Failed(1, Fate.UNKNOWN, "late")
    assert with_stream(unsent=b"}")[0].cancel(1, "late") == Failed(1, Fate.NOT_SENT, "late")
    answered = with_stream(unsent=b"}", status=502, body=bytearray(b"<html>"))[0]
    assert answered.cancel(1, "late") == Answered(1, 502, [], b"<html>", "late")
    assert not answered.events
    assert with_stream()[0].cancel(5, "late") is None


@pytest.mark.parametrize("number", [0, 2, 3, 101])
def test_a_frame_for_what_was_never_open_is_an_error(number: int) -> None:
    streams, _ = with_stream()
    with pytest.raises(PeerError) as caught:
        streams.check_known(number)
    assert caught.value.code == ErrorCode.PROTOCOL_ERROR


def test_patience_ends_and_progress_restores_it() -> None:
    streams, _ = with_stream()
    for _ in range(3):
        for _ in range(PATIENCE + EACH):
            streams.spend("things")
        streams.progress()
    for _ in range(PATIENCE + EACH):
        streams.bear(1)
    with pytest.raises(PeerError) as caught:
        streams.spend("things")
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


def borne(streams: Streams) -> int:
    """How many frames on closed streams are borne with, before they are a flood."""
    for number in range(1_000_000):
        try:
            streams.bear(1)
        except PeerError:
            return number
    raise AssertionError("they are never a flood")


def test_what_we_reset_may_be_late_whatever_came_forward_since() -> None:
    streams, _ = with_stream()
    streams.cancel(1, "late")
    streams.progress()
    assert borne(streams) == PATIENCE + LATE
    streams.progress()
    assert borne(streams) == PATIENCE  # once


@pytest.mark.parametrize("how", ["cancelled", "wrong", "answered too early"])
def test_late_frames_are_borne_for_every_way_of_a_reset(how: str) -> None:
    streams, stream = with_stream(unsent=b"}", status=200)
    if how == "cancelled":
        streams.cancel(1, "late")
    elif how == "wrong":
        streams.fail(1, stream, ErrorCode.PROTOCOL_ERROR, "why")
    else:
        streams.finish(1, stream, b"")
    assert len(streams.out) == 1
    assert borne(streams) == PATIENCE + LATE


def test_what_ended_by_itself_may_not_be_late() -> None:
    streams, stream = with_stream(status=200)
    streams.finish(1, stream, b"")
    assert borne(streams) == PATIENCE


def test_there_is_an_end_to_late_frames() -> None:
    streams, _ = with_stream()
    for _ in range(MOST_LATE):
        streams.open[1] = Stream(100)
        streams.cancel(1, "late")
    assert borne(streams) == PATIENCE + MOST_LATE
