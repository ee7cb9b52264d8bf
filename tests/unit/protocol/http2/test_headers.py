"""Header blocks: ours as an independent decoder reads them, theirs as an independent encoder writes them."""

from unittest.mock import patch

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.protocol.http2.frames import ErrorCode, PeerError
from dispatcher.protocol.http2.headers import (
    MAX_HEADER_LIST,
    STAY,
    AnswerHeaders,
    Malformed,
    RequestHeaders,
)

TOKENS = [
    ((b":method", b"POST"), (b":path", b"/v1"), (b"authorization", b"Bearer " + bytes([65 + n]) * 200))
    for n in range(4)
]


def acknowledged() -> AnswerHeaders:
    headers = AnswerHeaders()
    headers.acknowledged()
    return headers


def written(headers: list[tuple[str, str]], *, size: int | None = 0) -> bytes:
    encoder = hpack.Encoder()
    if size is not None:
        encoder.header_table_size = size
    return encoder.encode(headers)


def test_the_same_headers_are_a_few_indexed_bytes_from_the_third_time_on() -> None:
    ours, decoder = RequestHeaders(), hpack.Decoder()
    blocks = [ours.block(TOKENS[0]) for _ in range(5)]
    assert [tuple(decoder.decode(block, raw=True)) for block in blocks] == [TOKENS[0]] * 5
    assert len(blocks[0]) > 100
    assert len(blocks[1]) == 3
    assert blocks[3] is blocks[4]


def test_headers_of_others_leave_the_table_alone_until_they_are_sent_without_a_break() -> None:
    ours, decoder = RequestHeaders(), hpack.Decoder()

    def send(number: int) -> bytes:
        block = ours.block(TOKENS[number])
        assert tuple(decoder.decode(block, raw=True)) == TOKENS[number]
        return block

    for _ in range(3):
        send(0)
    for _ in range(STAY):
        assert len(send(1)) > 200
    assert len(send(0)) == 3  # still there, and the other begins anew
    for _ in range(STAY):
        assert len(send(1)) > 200
    send(1)
    assert [len(send(1)) for _ in range(3)] == [3] * 3
    assert len(send(0)) > 200


@given(
    st.integers(0, 3),
    st.lists(
        st.one_of(st.integers(0, 3), st.sampled_from([0, 40, 300, 1000, 4096, 65536]).map(lambda n: -1 - n)),
        max_size=40,
    ),
)
def test_a_peer_understands_every_block_whatever_table_it_announces(stay: int, steps: list[int]) -> None:
    with patch("dispatcher.protocol.http2.headers.STAY", stay):
        _understood(steps)


def _understood(steps: list[int]) -> None:
    ours, decoder = RequestHeaders(), hpack.Decoder()
    announced = [4096]
    for step in steps:
        if step < 0:
            announced.append(-1 - step)
            ours.peer_table_size(-1 - step)
            decoder.max_allowed_table_size = -1 - step
        else:
            block = ours.block(TOKENS[step])
            assert tuple(decoder.decode(block, raw=True)) == TOKENS[step]
            if min(announced) < 4096:
                assert decoder.header_table.maxsize <= announced[-1]
            announced = announced[-1:]


def test_the_smallest_table_in_between_is_told_too() -> None:
    # RFC 7541, 4.2: a peer that shrank its table to nothing and back has forgotten what was in it.
    ours = RequestHeaders()
    ours.block(TOKENS[0])
    for size in (0, 0, 4096):
        ours.peer_table_size(size)
    assert ours.block(TOKENS[0]).startswith(b"\x20\x3f\xe1\x1f")
    assert len(ours.block(TOKENS[0])) == 3


def test_a_200_is_seen_without_decoding_once_the_table_is_off() -> None:
    block = written([(":status", "200"), ("date", "today")])
    assert acknowledged().read(block) == (200, [])
    assert acknowledged().read(block[1:]) == (200, [])
    assert AnswerHeaders().read(block) == (200, [(b":status", b"200"), (b"date", b"today")])


def test_before_the_acknowledgement_blocks_may_build_on_each_other() -> None:
    encoder, theirs = hpack.Encoder(), AnswerHeaders()
    first = encoder.encode([(":status", "404"), ("x-thing", "a long value of it")])
    second = encoder.encode([(":status", "404"), ("x-thing", "a long value of it")])
    assert len(second) < len(first)
    theirs.skip(first)
    assert theirs.read(second)[1][1] == (b"x-thing", b"a long value of it")


def test_after_it_what_builds_on_the_table_is_an_error() -> None:
    encoder, theirs = hpack.Encoder(), acknowledged()
    encoder.encode([(":status", "404"), ("x-thing", "value")])
    with pytest.raises(PeerError) as caught:
        theirs.read(encoder.encode([(":status", "404"), ("x-thing", "value")]))
    assert caught.value.code == ErrorCode.COMPRESSION_ERROR


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("date", "today")],
        [(":status", "404"), (":status", "404")],
        [("date", "today"), (":status", "404")],
        [(":status", "404"), (":path", "/")],
        [(":status", "20")],
        [(":status", "2000")],
        [(":status", "abc")],
        [(":status", "099")],
        [(":status", "404"), ("Date", "today")],
        [(":status", "404"), ("connection", "close")],
        [(":status", "404"), ("transfer-encoding", "chunked")],
        [(":status", "404"), ("a b", "c")],
        [(":status", "404"), ("", "c")],
        [(":status", "404"), ("a", "b\r\nc: d")],
        [(":status", "404"), ("a", " b")],
        [(":status", "404"), ("a", "b\t")],
        [(":status", "404"), ("a", " ")],
        [(":status", "404"), ("content-length", " " * 20 + "1")],
        [(":status", "404"), ("a:b", "c")],
        [(":status", "404"), ("a:", "c")],
        [(":status", "40²")],
        [(":status", "٤٠٤")],
        [(":status", "+40")],
        [(":status", "4 4")],
    ],
    ids=str,
)
def test_an_answer_that_breaks_the_rules_is_malformed(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Malformed) as caught:
        acknowledged().read(written(headers))
    assert str(caught.value).isprintable()


def test_headers_beyond_the_limit_are_the_streams_own_affair_where_nothing_builds_on_them() -> None:
    large = written([(":status", "404"), ("a", "b" * MAX_HEADER_LIST)], size=None)
    with pytest.raises(Malformed):
        acknowledged().read(large)
    with pytest.raises(PeerError):
        AnswerHeaders().read(large)
    assert acknowledged().read(written([(":status", "404"), ("a", "b" * (MAX_HEADER_LIST - 100))]))[0] == 404


@pytest.mark.parametrize("updates", ["20", "3f0020", "2020"])
def test_the_table_may_change_its_size_twice(updates: str) -> None:
    block = bytes.fromhex(updates) + written([(":status", "404")], size=None)
    assert AnswerHeaders().read(block)[0] == 404


@pytest.mark.parametrize("updates", ["202020", "20" * 9000])
def test_and_no_more(updates: str) -> None:
    with pytest.raises(PeerError) as caught:
        AnswerHeaders().read(bytes.fromhex(updates) + b"\x88")
    assert caught.value.code == ErrorCode.COMPRESSION_ERROR


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(block: bytes) -> None:
    for theirs in (AnswerHeaders(), acknowledged()):
        try:
            status, _ = theirs.read(block)
            assert 100 <= status <= 999
        except (Malformed, PeerError):
            pass
