"""The session without a socket: what counts as sent."""

import asyncio
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp.http_writer import StreamWriter

from dispatcher.transport.session import _Body, _Request


class Wire:
    """A transport that remembers what it was given."""

    def __init__(self, *, closing: bool = False) -> None:
        self.closing = closing
        self.written = b""

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written += data


def writer_to(wire: Wire | None) -> StreamWriter:
    return StreamWriter(SimpleNamespace(transport=wire), asyncio.get_running_loop())


async def test_a_body_has_left_when_it_was_written() -> None:
    wire, body = Wire(), _Body(b"content")
    assert not body.left
    await body.write(writer_to(wire))
    assert body.left
    assert wire.written == b"content"
    assert body.size == 7
    assert body.decode() == "content"


@pytest.mark.parametrize("wire", [None, Wire(closing=True)])
async def test_a_body_has_not_left_if_the_connection_was_closed_before(wire: Wire | None) -> None:
    body = _Body(b"content")
    with pytest.raises(aiohttp.ClientConnectionError):
        await body.write(writer_to(wire))
    assert not body.left


@pytest.mark.parametrize("protocol", [None, SimpleNamespace(should_close=True)])
async def test_a_request_is_not_put_on_a_connection_with_leftovers(protocol: object) -> None:
    request = _Request.__new__(_Request)
    with pytest.raises(aiohttp.ClientConnectionError, match="unasked"):
        await request.send(SimpleNamespace(protocol=protocol))
