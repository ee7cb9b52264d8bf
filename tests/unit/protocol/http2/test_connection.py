"""The whole connection: SETTINGS, PING, GOAWAY, resets, floods and ends."""

import pytest

from dispatcher.model import Fate
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.connection import USUAL_STREAMS, Connection
from dispatcher.protocol.http2.frames import ErrorCode, Setting
from dispatcher.protocol.http2.streams import EACH, LATE, PATIENCE, Answered, Closed, Failed

HEADERS = ((b":method", b"POST"), (b":path", b"/"))
SETTINGS = frames.frame(frames.SETTINGS, 0, 0)
ACK = frames.frame(frames.SETTINGS, frames.ACK, 0)
OK = b"\x88"


def setting(key: int, value: int) -> bytes:
    return frames.frame(frames.SETTINGS, 0, 0, key.to_bytes(2, "big") + value.to_bytes(4, "big"))


def goaway(last: int, code: int = 0) -> bytes:
    return frames.frame(frames.GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


def reset(stream: int, code: int) -> bytes:
    return frames.frame(frames.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def answer(stream: int) -> bytes:
    head = frames.frame(frames.HEADERS, frames.END_HEADERS, stream, OK)
    return head + frames.frame(frames.DATA, frames.END_STREAM, stream, b"{}")


def started(connection: Connection, count: int = 1) -> list[int]:
    streams = [connection.request(HEADERS, b"body") for _ in range(count)]
    connection.take()
    return streams


def test_the_preface_switches_the_table_and_pushes_off(frames_of) -> None:
    hello = Connection().take()
    assert hello.startswith(frames.PREFACE)
    (settings, window) = frames_of(hello)
    keys = {settings[3][n + 1]: settings[3][n + 2 : n + 6] for n in range(0, len(settings[3]), 6)}
    assert keys[Setting.HEADER_TABLE_SIZE] == keys[Setting.ENABLE_PUSH] == bytes(4)
    assert window[0] == frames.WINDOW_UPDATE


def test_nothing_is_started_before_the_server_has_said_how_many_it_takes(connect) -> None:
    assert Connection().room == 0
    assert connect().room == USUAL_STREAMS
    assert connect({Setting.MAX_CONCURRENT_STREAMS: 1}).room == 1
    assert connect({Setting.MAX_CONCURRENT_STREAMS: 0}).room == 0
    assert connect({Setting.MAX_CONCURRENT_STREAMS: 2**32 - 1}).room == 2**32 - 1


def test_the_limit_of_streams_may_change_under_way(connect) -> None:
    connection = connect({Setting.MAX_CONCURRENT_STREAMS: 3})
    first, *_ = started(connection, 3)
    assert connection.room == 0
    connection.receive(setting(Setting.MAX_CONCURRENT_STREAMS, 1))
    connection.receive(answer(first))
    assert (connection.streams, connection.room) == (2, 0)
    connection.receive(setting(Setting.MAX_CONCURRENT_STREAMS, 5))
    assert connection.room == 3


def test_a_used_up_window_leaves_no_room(connect) -> None:
    connection = connect()
    connection.request(HEADERS, bytes(frames.DEFAULT_WINDOW))
    assert connection.room == 0
    connection.receive(frames.window_update(0, 1))
    assert connection.room == USUAL_STREAMS - 1


def test_settings_are_acknowledged_each_time(connect, frames_of) -> None:
    connection = connect()
    connection.receive(SETTINGS + setting(99, 5) + setting(Setting.ENABLE_PUSH, 0))
    assert frames_of(connection.take()) == [(frames.SETTINGS, frames.ACK, 0, b"")] * 3


def test_frames_may_be_as_large_as_the_server_says(connect, frames_of) -> None:
    connection = connect({Setting.MAX_FRAME_SIZE: 20_000, Setting.INITIAL_WINDOW_SIZE: 60_000})
    connection.request(HEADERS, bytes(20_000))
    assert [len(p) for kind, _, _, p in frames_of(connection.take()) if kind == frames.DATA] == [20_000]


def test_a_window_of_nothing_holds_bodies_until_it_opens(connect, frames_of) -> None:
    connection = connect({Setting.INITIAL_WINDOW_SIZE: 0})
    connection.request(HEADERS, b"body")
    assert [kind for kind, *_ in frames_of(connection.take())] == [frames.HEADERS]
    connection.receive(setting(Setting.INITIAL_WINDOW_SIZE, 100))
    assert frames_of(connection.take())[-1] == (frames.DATA, frames.END_STREAM, 1, b"body")


def test_pings_are_answered_and_ours_come_back(connect, frames_of) -> None:
    connection = connect()
    connection.receive(frames.frame(frames.PING, 0, 0, b"12345678"))
    assert frames_of(connection.take()) == [(frames.PING, frames.ACK, 0, b"12345678")]
    connection.ping()
    (ping,) = frames_of(connection.take())
    connection.receive(frames.frame(frames.PING, frames.ACK, 0, b"another1"))
    assert connection.unanswered_ping
    connection.receive(frames.frame(frames.PING, frames.ACK, 0, ping[3]))
    assert not connection.unanswered_ping


def test_above_a_goaways_last_id_nothing_was_sent_and_below_answers_come(connect) -> None:
    connection = connect()
    started(connection, 3)
    events = connection.receive(goaway(3))
    assert [(event.stream, event.fate) for event in events] == [(5, Fate.NOT_SENT)]
    assert connection.room == 0
    assert connection.receive(answer(3)) == [Answered(3, 200, [], b"{}")]
    events = connection.receive(answer(1))
    assert events[0] == Answered(1, 200, [], b"{}")
    assert isinstance(events[1], Closed)


def test_a_goaway_in_two_steps_lets_everything_finish(connect) -> None:
    connection = connect()
    started(connection, 2)
    assert connection.receive(goaway(frames.MAX_STREAM_ID)) == []
    assert [e.stream for e in connection.receive(goaway(1))] == [3]
    assert isinstance(connection.receive(goaway(3))[-1], Closed)  # it may not take that back


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        (ErrorCode.REFUSED_STREAM, Fate.NOT_SENT),
        (ErrorCode.HTTP_1_1_REQUIRED, Fate.NOT_SENT),
        (ErrorCode.NO_ERROR, Fate.UNKNOWN),
        (ErrorCode.CANCEL, Fate.UNKNOWN),
        (ErrorCode.INTERNAL_ERROR, Fate.UNKNOWN),
        (77, Fate.UNKNOWN),
    ],
)
def test_a_reset_stream_was_sent_unless_the_code_denies_it(connect, code: int, fate: Fate) -> None:
    connection = connect()
    started(connection, 2)
    (event,) = connection.receive(reset(1, code))
    assert (event.stream, event.fate) == (1, fate)
    assert connection.streams == 1


def test_a_refusal_after_an_answer_began_is_not_believed(connect) -> None:
    connection = connect()
    started(connection)
    head = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, OK)
    (event,) = connection.receive(head + reset(1, ErrorCode.REFUSED_STREAM))
    assert isinstance(event, Answered)
    assert "REFUSED_STREAM" in event.broken


@pytest.mark.parametrize(
    "how", [goaway(1, ErrorCode.HTTP_1_1_REQUIRED), reset(3, ErrorCode.HTTP_1_1_REQUIRED)]
)
def test_a_server_may_ask_for_http_1(connect, how: bytes) -> None:
    connection = connect()
    started(connection, 2)
    assert [(e.stream, e.fate) for e in connection.receive(how)] == [(3, Fate.NOT_SENT)]
    assert (connection.http11, connection.room) == (True, 0)
    events = connection.receive(answer(1))
    assert [type(event) for event in events] == [Answered, Closed]


def test_the_end_of_the_transport_leaves_unknown_fates(connect) -> None:
    connection = connect({Setting.INITIAL_WINDOW_SIZE: 4})
    started(connection)
    connection.request(HEADERS, b"more than fits")
    connection.receive(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, OK))
    assert connection.lost("cut") == [
        Answered(1, 200, [], b"", "cut"),
        Failed(3, Fate.NOT_SENT, "cut"),
        Closed("cut"),
    ]
    assert connection.lost("cut") == []
    assert connection.close("again") == []


def test_saying_goodbye_ends_what_is_under_way(connect, frames_of) -> None:
    connection = connect()
    started(connection)
    assert connection.close("bye") == [Failed(1, Fate.UNKNOWN, "bye"), Closed("bye")]
    assert [kind for kind, *_ in frames_of(connection.take())] == [frames.GOAWAY]
    assert connection.closed


def test_a_request_that_is_given_up_is_reset_and_heard_of_no_more(connect, frames_of) -> None:
    connection = connect()
    started(connection)
    assert connection.cancel(1, "late") == Failed(1, Fate.UNKNOWN, "late")
    assert frames_of(connection.take()) == [(frames.RST_STREAM, 0, 1, b"\0\0\0\x08")]
    assert connection.receive(answer(1)) == []


def late_answer(stream: int) -> bytes:
    """One in as many frames as an honest server may take."""
    return (
        frames.window_update(stream, 4)
        + frames.frame(frames.HEADERS, frames.END_HEADERS, stream, OK)
        + frames.frame(frames.DATA, 0, stream, b"{}")
        + frames.frame(frames.DATA, frames.END_STREAM, stream, b"")
        + reset(stream, ErrorCode.NO_ERROR)
    )


def test_a_thousand_late_answers_are_no_flood(connect) -> None:
    connection = connect({Setting.MAX_CONCURRENT_STREAMS: 2000})
    streams = started(connection, 1000)
    assert {connection.cancel(stream, "late").fate for stream in streams} == {Fate.UNKNOWN}
    assert connection.request(HEADERS, b"body") == 2001
    for stream in streams:
        assert connection.receive(late_answer(stream)) == []
    assert connection.receive(answer(2001)) == [Answered(2001, 200, [], b"{}")]
    assert connection.room == 2000


def test_nor_are_those_of_many_rounds_between_which_others_were_answered(connect) -> None:
    connection = connect()
    streams = []
    for _ in range(11):
        streams += started(connection, 99)
        for stream in streams[-99:]:
            connection.cancel(stream, "late")
        (number,) = started(connection)
        assert len(connection.receive(answer(number))) == 1
    assert connection.receive(b"".join(late_answer(stream) for stream in streams)) == []
    assert not connection.closed


def test_what_goes_on_after_the_late_answers_is_a_flood(connect, frames_of) -> None:
    connection = connect()
    for stream in started(connection, 2):
        connection.cancel(stream, "late")
    answered, number = started(connection, 2)
    connection.receive(answer(answered))
    received = 0
    while not connection.closed:
        events = connection.receive(frames.frame(frames.DATA, 0, 1, b"x"))
        received += 1
    assert received == PATIENCE + EACH + 2 * LATE + 1
    assert events[0] == Failed(
        number, Fate.UNKNOWN, "the server broke HTTP/2: a flood of frames on closed streams"
    )
    goodbye = frames_of(connection.take())[-1]
    assert (goodbye[0], int.from_bytes(goodbye[3][4:8], "big")) == (
        frames.GOAWAY,
        ErrorCode.ENHANCE_YOUR_CALM,
    )


def test_a_server_may_give_back_every_window_before_it_answers(connect) -> None:
    # RFC 9113, 6.9: one WINDOW_UPDATE for the stream and one for the connection, for each DATA frame.
    connection = connect({Setting.MAX_CONCURRENT_STREAMS: 2 * PATIENCE})
    streams = started(connection, 2 * PATIENCE)
    for stream in streams:
        assert connection.receive(frames.window_update(0, 4) + frames.window_update(stream, 4)) == []
    assert len(connection.receive(b"".join(answer(stream) for stream in streams))) == 2 * PATIENCE


def test_a_server_may_refuse_as_many_requests_as_there_are(connect) -> None:
    connection = connect({Setting.MAX_CONCURRENT_STREAMS: 3 * PATIENCE})
    streams = started(connection, 3 * PATIENCE)
    events = connection.receive(b"".join(reset(stream, ErrorCode.REFUSED_STREAM) for stream in streams))
    assert [(event.stream, event.fate) for event in events] == [(stream, Fate.NOT_SENT) for stream in streams]
    assert connection.room == 3 * PATIENCE


def test_when_the_ids_are_used_up_it_drains(connect) -> None:
    connection = connect()
    connection._streams.next = frames.MAX_STREAM_ID  # after two thousand million requests
    assert connection.request(HEADERS, b"b") == frames.MAX_STREAM_ID
    assert connection.room == 0
    events = connection.receive(answer(frames.MAX_STREAM_ID))
    assert [type(event) for event in events] == [Answered, Closed]


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (ACK, ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PING, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 4, 1, OK), ErrorCode.PROTOCOL_ERROR),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorCode.FRAME_SIZE_ERROR),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ErrorCode.FRAME_SIZE_ERROR),
        (bytes(100), ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_whoever_does_not_begin_with_settings_does_not_speak_http2(frames_of, first: bytes, code) -> None:
    connection = Connection()
    connection.take()
    assert isinstance(connection.receive(first)[-1], Closed)
    (goodbye,) = frames_of(connection.take())
    assert int.from_bytes(goodbye[3][4:8], "big") == code


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frames.frame(frames.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.SETTINGS, 0, 0, b"12345"), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
        (setting(Setting.ENABLE_PUSH, 1), ErrorCode.PROTOCOL_ERROR),
        (setting(Setting.INITIAL_WINDOW_SIZE, 2**31), ErrorCode.FLOW_CONTROL_ERROR),
        (setting(Setting.MAX_FRAME_SIZE, 16_383), ErrorCode.PROTOCOL_ERROR),
        (setting(Setting.MAX_FRAME_SIZE, 1 << 24), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.RST_STREAM, 0, 1, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        (reset(0, 0), ErrorCode.PROTOCOL_ERROR),
        (reset(99, 0), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PING, 0, 0, bytes(8)) * (PATIENCE + EACH + 1), ErrorCode.ENHANCE_YOUR_CALM),
        (SETTINGS * (PATIENCE + EACH + 1), ErrorCode.ENHANCE_YOUR_CALM),
        (frames.window_update(0, 1) * (PATIENCE + EACH + 1), ErrorCode.ENHANCE_YOUR_CALM),
        (reset(1, 0) * (PATIENCE + 2), ErrorCode.ENHANCE_YOUR_CALM),
        (frames.frame(77, 0, 0) * (PATIENCE + EACH + 1), ErrorCode.ENHANCE_YOUR_CALM),
        (goaway(1) * (PATIENCE + EACH + 1), ErrorCode.ENHANCE_YOUR_CALM),
    ],
)
def test_a_broken_rule_ends_the_connection_with_its_code(connect, frames_of, wrong: bytes, code) -> None:
    connection = connect()
    started(connection)
    events = connection.receive(wrong)
    goodbye = frames_of(connection.take())[-1]
    assert (goodbye[0], int.from_bytes(goodbye[3][4:8], "big")) == (frames.GOAWAY, code)
    assert isinstance(events[-1], Closed)
    assert (connection.closed, connection.room, connection.streams) == (True, 0, 0)


def test_a_bad_priority_ends_only_its_stream(connect, frames_of) -> None:
    connection = connect()
    started(connection, 2)
    (event,) = connection.receive(frames.frame(frames.PRIORITY, 0, 1, bytes(4)))
    assert (event.stream, event.fate) == (1, Fate.UNKNOWN)
    assert frames_of(connection.take())[0][:3] == (frames.RST_STREAM, 0, 1)
    assert connection.receive(frames.frame(frames.PRIORITY, 0, 9, bytes(4))) == []


def test_a_window_dripped_byte_by_byte_is_a_flood(connect, frames_of) -> None:
    connection = connect({Setting.INITIAL_WINDOW_SIZE: 0})
    connection.request(HEADERS, bytes(200_000))
    events = connection.receive(frames.window_update(1, 1) * (PATIENCE + EACH + 1))
    assert isinstance(events[-1], Closed)
    assert events[0].fate is Fate.NOT_SENT


def test_large_bodies_to_a_slow_reader_are_no_flood(connect, frames_of) -> None:
    connection = connect({Setting.INITIAL_WINDOW_SIZE: 0})
    for _ in range(50):
        connection.request(HEADERS, bytes(200_000))
    for _ in range(98):
        for stream in range(1, 100, 2):
            assert (
                connection.receive(frames.window_update(0, 2048) + frames.window_update(stream, 2048)) == []
            )
    assert sum(len(p) for kind, _, _, p in frames_of(connection.take()) if kind == 0) == 50 * 200_000
