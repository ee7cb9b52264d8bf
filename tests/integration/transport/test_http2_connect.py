"""How HTTP/2 connections come about, and how they do not: addresses, haste, pauses between them."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from h2.settings import SettingCodes

from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.frames import ErrorCode
from dispatcher.transport import http2_pool
from dispatcher.transport.http2_connect import Place, connect
from dispatcher.transport.http2_link import Link, Patience
from dispatcher.transport.route import DIRECT

ANSWER = b'{"name":"projects/demo/messages/0:1"}'


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts every message, one at a time; says nothing before the client has."""
    it = H2Connection(H2Configuration(client_side=False))
    it.initiate_connection()
    it.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    while data := await reader.read(65_536):
        for event in it.receive_data(data):
            if isinstance(event, StreamEnded):
                it.send_headers(event.stream_id, [(":status", "200")])
                it.send_data(event.stream_id, ANSWER, end_stream=True)
        writer.write(it.data_to_send())


@pytest.fixture
def send(http2_to, batch_of):
    """`transport, errors = await send(url, 10, links=3)`."""

    async def go(url: str, count: int, *, links: int = 1, only: bool = True):
        transport = http2_to(url, lambda *_: None, links=links, only=only, route=DIRECT)
        responses = await transport.send(batch_of(*map(str, range(count))), "token", now=0.0, at_once=1000)
        return transport, [response.error.reason for response in responses if response.error]

    return go


@contextmanager
def silent(port: int) -> Iterator[str]:
    """An address on which nobody answers: the backlog of its listener is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.2", port))
        listener.listen(0)
        with suppress(TimeoutError):
            for _ in range(10):
                caller = stack.enter_context(socket.socket())
                caller.settimeout(0.2)
                caller.connect(("127.0.0.2", port))
        yield "127.0.0.2"


async def test_a_silent_address_does_not_use_up_the_time_of_the_next(listen, send, monkeypatch) -> None:
    async with listen(accept, alpn=None) as port:
        with silent(port) as nobody:
            loop = asyncio.get_running_loop()
            resolve = loop.getaddrinfo

            async def both(host: str, *rest: object, **options: object) -> list[object]:
                if host != "fcm.test":
                    return await resolve(host, *rest, **options)
                kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
                return [(*kind, (address, port)) for address in (nobody, "127.0.0.1")]

            monkeypatch.setattr(loop, "getaddrinfo", both)
            _, errors = await send(f"http://fcm.test:{port}", 3)
    assert errors == []


async def test_a_server_that_asks_for_http1_with_its_first_words_gets_it(listen, send) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frames.settings({}) + frames.goaway(0, ErrorCode.HTTP_1_1_REQUIRED))
        await reader.read(-1)

    async with listen(serve, alpn=None) as port:
        transport, errors = await send(f"http://127.0.0.1:{port}", 1, only=False)
    assert transport.lacks_http2()
    assert errors == ["not sent: the server does not speak HTTP/2"]


async def test_a_connection_that_nobody_waits_for_any_more_is_closed(listen) -> None:
    links = []

    class Hasty(Link):
        """The worker ends in the turn of the loop in which the server's SETTINGS come."""

        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            links.append(self)
            connecting.cancel()

    async with listen(accept, alpn=None) as port:
        place = Place("127.0.0.1", port, None, DIRECT)
        connecting = asyncio.create_task(connect(place, lambda: Hasty(lambda: None, Patience())))
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert links[0].gone
        await links[0].ended


async def test_one_connection_is_opened_after_the_other_with_a_pause(listen, send, monkeypatch) -> None:
    monkeypatch.setattr(http2_pool, "OPEN_EVERY_S", 3600.0)
    async with listen(accept, alpn=None) as port:
        transport, errors = await send(f"http://127.0.0.1:{port}", 50, links=10)
    assert errors == []
    assert transport.pool.opened == 1


async def test_where_no_more_connections_are_to_be_had_there_is_a_pause_too(
    listen, send, monkeypatch
) -> None:
    monkeypatch.setattr(http2_pool, "OPEN_EVERY_S", 0.0)
    monkeypatch.setattr(http2_pool, "REST_S", 3600.0)
    tries = []
    refused = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(writer)
        if len(tries) > 1:
            refused.set()
            return
        await accept(reader, writer)

    async with listen(serve, alpn=None) as port:
        transport, errors = await send(f"http://127.0.0.1:{port}", 50, links=10)
        await refused.wait()
        assert errors == []
        assert transport.pool.opened == 1
        (_, more) = await send(f"http://127.0.0.1:{port}", 1)
        assert len(tries) == 3  # that one's own
        assert len(more) == 1
