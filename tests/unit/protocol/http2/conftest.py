"""The other side of a connection, frame by frame."""

from collections.abc import Callable

import pytest

from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.connection import Connection

Frame = tuple[int, int, int, bytes]


def _frames_of(data: bytes) -> list[Frame]:
    """What the bytes of one side are, without the preface."""
    data = data.removeprefix(frames.PREFACE)
    found = []
    while data:
        length = int.from_bytes(data[:3], "big")
        stream = int.from_bytes(data[5:9], "big")
        found.append((data[3], data[4], stream, data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def _connect(settings: dict[int, int] | None = None, *, acknowledge: bool = True) -> Connection:
    """A connection whose server has said its SETTINGS, and acknowledged ours."""
    connection = Connection()
    connection.take()
    payload = b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in (settings or {}).items())
    assert connection.receive(frames.frame(frames.SETTINGS, 0, 0, payload)) == []
    if acknowledge:
        assert connection.receive(frames.frame(frames.SETTINGS, frames.ACK, 0)) == []
    connection.take()
    return connection


@pytest.fixture(scope="session")
def frames_of() -> Callable[[bytes], list[Frame]]:
    return _frames_of


@pytest.fixture(scope="session")
def connect() -> Callable[..., Connection]:
    return _connect
