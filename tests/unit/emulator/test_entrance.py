from itertools import pairwise

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emulator.entrance import PREFACE, SchemeMender

SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
HEAD = [(":method", "POST"), (":scheme", "https:"), (":path", "/v1/projects/demo/messages:send")]


def frame(kind: int, payload: bytes, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 4]) + stream.to_bytes(4, "big") + payload


def payloads(sent: bytes, kind: int) -> list[bytes]:
    found, place = [], len(PREFACE)
    while place < len(sent):
        end = place + 9 + int.from_bytes(sent[place : place + 3], "big")
        if sent[place + 3] == kind:
            found.append(sent[place + 9 : end])
        place = end
    assert place == len(sent)
    return found


@pytest.mark.parametrize("huffman", [True, False])
def test_a_scheme_with_a_colon_is_mended_wherever_it_is_named(huffman: bool) -> None:
    encoder, decoder = Encoder(), Decoder()
    requests = [
        frame(1, encoder.encode([*HEAD, ("x-number", str(number))], huffman=huffman), 2 * number + 1)
        for number in range(300)
    ]
    passed = SchemeMender().feed(PREFACE + SETTINGS + b"".join(requests))
    for number, block in enumerate(payloads(passed, 1)):
        assert dict(decoder.decode(block)) == dict(HEAD) | {":scheme": "https", "x-number": str(number)}


def test_a_good_scheme_and_the_bodies_are_left_as_they_are() -> None:
    good = Encoder().encode([(":method", "POST"), (":scheme", "https"), (":path", "/https:")])
    sent = PREFACE + SETTINGS + frame(1, good) + frame(0, b"\x47\x06https:")
    assert SchemeMender().feed(sent) == sent


@settings(max_examples=50)
@given(st.lists(st.integers(0, 400), max_size=6))
def test_it_does_not_matter_how_the_bytes_are_grouped(cuts: list[int]) -> None:
    body = frame(0, b"x" * 100)
    sent = (
        PREFACE + SETTINGS + frame(1, Encoder().encode(HEAD)) + body + frame(1, Encoder().encode(HEAD)) + body
    )
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    mender = SchemeMender()
    pieces = b"".join(mender.feed(sent[start:end]) for start, end in pairwise(places))
    assert pieces == SchemeMender().feed(sent)


def test_an_unfinished_frame_is_held_back() -> None:
    mender = SchemeMender()
    assert mender.feed(PREFACE[:5]) == b""
    assert mender.feed(PREFACE[5:] + SETTINGS[:-1]) == PREFACE
    assert mender.feed(SETTINGS[-1:]) == SETTINGS
