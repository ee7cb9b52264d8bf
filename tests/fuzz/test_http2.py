"""Whatever bytes a server sends: no exception, no stream untold, no memory without end."""

import random

import hpack
import pytest

from dispatcher.model import Fate
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.connection import Connection
from dispatcher.protocol.http2.streams import Answered, Closed, Failed

HEADERS = ((b":method", b"POST"), (b":path", b"/"))
SETTINGS = frames.frame(frames.SETTINGS, 0, 0, bytes.fromhex("000300000064"))
ACK = frames.frame(frames.SETTINGS, frames.ACK, 0)
ROUNDS = 1500


def conversation(chance: random.Random) -> bytes:
    """What an honest server might say to ten requests."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    said = []
    for stream in range(1, 20, 2):
        status = chance.choice(["200", "200", "404", "503"])
        block = encoder.encode([(":status", status), ("date", "today"), ("a", "b" * chance.randrange(60))])
        said.append(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, block))
        said.append(frames.frame(frames.DATA, frames.END_STREAM, stream, b'{"name":"x"}'))
        if chance.random() < 0.3:
            said.append(frames.frame(frames.PING, 0, 0, bytes(8)))
        if chance.random() < 0.3:
            said.append(frames.window_update(chance.choice([0, stream]), 1000))
    return b"".join(said)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The same with a few bytes changed, dropped, doubled or put in."""
    wrong = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(wrong))
        match chance.randrange(5):
            case 0:
                wrong[at] = chance.randrange(256)
            case 1:
                wrong[at] ^= 1 << chance.randrange(8)
            case 2:
                del wrong[at : at + chance.randrange(1, 20)]
            case 3:
                wrong[at:at] = wrong[at : at + chance.randrange(1, 40)]
            case 4:
                wrong[at:at] = chance.randbytes(chance.randrange(1, 12))
        if not wrong:
            break
    return bytes(wrong)


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


def torture(data: bytes, chance: random.Random, *, settled: bool = True) -> None:
    connection = Connection()
    if settled:
        connection.receive(SETTINGS + (ACK if chance.random() < 0.8 else b""))
    requests = {connection.request(HEADERS, b"body") for _ in range(min(10, connection.room))}
    connection.take()
    events = []
    at = 0
    while at < len(data):
        step = chance.choice([1, 5, 50, 5000, 1 << 20])
        events += connection.receive(data[at : at + step])
        at += step
        assert len(connection.take()) < 200_000
    assert len(connection._buffer) <= frames.MAX_FRAME + 9
    events += connection.lost("the end")
    assert isinstance(events[-1], Closed)
    told = [event.stream for event in events[:-1]]
    assert sorted(told) == sorted(requests)
    for event in events[:-1]:
        assert isinstance(event, Answered | Failed)
        if isinstance(event, Failed):
            assert event.fate in {Fate.NOT_SENT, Fate.UNKNOWN}
    assert connection.closed
    assert connection.room == 0
    assert connection._streams.held == 0
    assert connection._streams.blocked == {}


@pytest.mark.parametrize("seed", range(4))
def test_mutated_conversations(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        torture(mutated(conversation(chance), chance), chance)


@pytest.mark.parametrize("seed", range(2))
def test_frames_in_any_order(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        torture(scrambled(chance), chance)


def test_noise() -> None:
    chance = random.Random(1)
    for _ in range(ROUNDS):
        torture(chance.randbytes(chance.randrange(1, 300)), chance, settled=chance.random() < 0.5)


def test_mutated_header_blocks() -> None:
    chance = random.Random(2)
    for _ in range(ROUNDS):
        encoder = hpack.Encoder()
        block = encoder.encode([(":status", "404"), ("server", "gws"), ("x", "y" * chance.randrange(200))])
        block = mutated(block, chance)[: frames.MAX_FRAME]
        torture(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block), chance)
