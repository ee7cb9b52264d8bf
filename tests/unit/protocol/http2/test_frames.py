"""The frame layer."""

from hyperframe.frame import Frame, GoAwayFrame, SettingsFrame
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import ErrorCode, Setting


@given(
    st.integers(0, 16_384),
    st.sampled_from([0, 1, 2, 3, 4, 6, 7, 8, 9, 77]),
    st.integers(0, 255),
    st.integers(0, frames.MAX_STREAM_ID),
)
def test_a_head_is_nine_bytes_as_another_library_reads_them(
    length: int, kind: int, flags: int, stream: int
) -> None:
    head = frames.head(length, kind, flags, stream)
    assert len(head) == 9
    assert (int.from_bytes(head[:3], "big"), head[3], head[4]) == (length, kind, flags)
    assert int.from_bytes(head[5:], "big") == stream


def test_settings_are_read_by_another_library() -> None:
    data = frames.settings({Setting.ENABLE_PUSH: 0, Setting.INITIAL_WINDOW_SIZE: 1 << 20})
    frame, length = Frame.parse_frame_header(memoryview(data[:9]))
    frame.parse_body(memoryview(data[9:]))
    assert isinstance(frame, SettingsFrame)
    assert (length, frame.settings) == (12, {2: 0, 4: 1 << 20})


def test_a_goaway_says_why_and_never_too_much() -> None:
    data = frames.goaway(7, ErrorCode.PROTOCOL_ERROR, "x" * 5000)
    frame, length = Frame.parse_frame_header(memoryview(data[:9]))
    frame.parse_body(memoryview(data[9:]))
    assert isinstance(frame, GoAwayFrame)
    assert (frame.last_stream_id, frame.error_code, len(frame.additional_data)) == (7, 1, 200)
    assert length == 208


def test_the_small_frames() -> None:
    assert frames.window_update(5, 9).hex() == "000004080000000005" + "00000009"
    assert frames.rst_stream(5, ErrorCode.CANCEL).hex() == "000004030000000005" + "00000008"
    assert (
        frames.frame(frames.PING, frames.ACK, 0, b"12345678").hex()
        == "000008060100000000" + b"12345678".hex()
    )


def test_codes_have_names_even_those_that_nobody_defined() -> None:
    assert ErrorCode.name_of(0xB) == "ENHANCE_YOUR_CALM"
    assert ErrorCode.name_of(77) == "error 77"
