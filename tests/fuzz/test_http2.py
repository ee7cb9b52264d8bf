"""Whatever bytes a server sends: no exception, no request untold or told twice, no memory without end."""

import random

import hpack
import pytest
from http2 import play
from http2_server import BEGIN, Talk, accident, garbled, honest

from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import ErrorCode
from dispatcher.protocol.http2.streams import Answered

SETTINGS = frames.frame(frames.SETTINGS, 0, 0, bytes.fromhex("000300000064"))
ACK = frames.frame(frames.SETTINGS, frames.ACK, 0)
ROUNDS = 600


def to_ten_requests(data: bytes, chance: random.Random, *, settled: bool = True) -> None:
    talk: Talk = [SETTINGS, ACK] if chance.random() < 0.8 else [SETTINGS]
    play([*(talk if settled else []), *[BEGIN] * 10, data], chance)


def scrambled(chance: random.Random) -> bytes:
    """Well-formed frames of any type, in any order, with any flags."""
    kinds = [*range(11), 200]
    return b"".join(
        frames.frame(
            chance.choice(kinds),
            chance.choice([0, 1, 4, 5, 8, 0x20, 0x2D, 255]),
            chance.choice([0, 1, 1, 3, 5, 7, 8, 99]),
            chance.choice(
                [b"", b"\x88", chance.randbytes(chance.randrange(30)), bytes(4), bytes(8), bytes(6)]
            ),
        )
        for _ in range(chance.randrange(1, 60))
    )


def test_what_an_honest_server_says_is_understood() -> None:
    chance = random.Random(3)
    whole = 0
    for _ in range(100):
        talk, answers = honest(chance)
        client = play(talk, chance)
        assert client.closed in {"the end", "the server closes this connection"}
        for stream, (status, body) in answers.items():
            if stream not in client.given_up:
                answer = client.told[stream]
                assert isinstance(answer, Answered)
                assert (answer.status, answer.body, answer.broken) == (status, body, "")
                whole += 1
    assert whole > 250


def test_header_fields_that_are_wrong_end_no_more_than_their_request() -> None:
    chance = random.Random(4)
    for _ in range(100):
        assert set(play(honest(chance, rude=True)[0], chance).goodbyes) <= {ErrorCode.NO_ERROR}


@pytest.mark.parametrize("seed", range(4))
def test_garbled_conversations(seed: int) -> None:
    chance = random.Random(seed)
    ended = 0
    for number in range(ROUNDS // 2):
        talk = honest(chance, rude=number % 2 == 1)[0]
        ended += bool(play(garbled(talk, chance), chance).goodbyes)
    assert ended > ROUNDS // 10


@pytest.mark.parametrize("seed", range(2))
def test_frames_in_any_order(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        to_ten_requests(scrambled(chance), chance)


def test_noise() -> None:
    chance = random.Random(1)
    for _ in range(ROUNDS):
        to_ten_requests(chance.randbytes(chance.randrange(1, 300)), chance, settled=chance.random() < 0.5)


def test_garbled_header_blocks() -> None:
    chance = random.Random(2)
    for _ in range(ROUNDS):
        encoder = hpack.Encoder()
        block = encoder.encode([(":status", "404"), ("server", "gws"), ("x", "y" * chance.randrange(100))])
        for _ in range(chance.randrange(1, 6)):
            block = accident(block, chance)
        to_ten_requests(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block), chance)
