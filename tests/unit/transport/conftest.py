"""The other end of an HTTP/2 connection, in memory: h2 keeps its books."""

import asyncio
from collections.abc import Iterator

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import PingReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes

from dispatcher.transport.http2_link import Link, Patience


class Wire:
    """A socket with a server behind it that has heard everything, and says something when the test wants it."""

    def __init__(self, link: Link, streams: int) -> None:
        self.link = link
        self.pings = 0
        self.requests: list[int] = []
        self.whole: list[int] = []
        self.open = True
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})

    def write(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.pings += isinstance(event, PingReceived)
            if isinstance(event, RequestReceived):
                self.requests.append(event.stream_id)
            elif isinstance(event, StreamEnded):
                self.whole.append(event.stream_id)

    def speak(self) -> None:
        """All that the server has to say by now: SETTINGS, answers to PINGs."""
        data = self.h2.data_to_send()
        self.link.get_buffer(len(data))[: len(data)] = data
        self.link.buffer_updated(len(data))

    def answer(self, *streams: int) -> None:
        for stream in streams:
            self.h2.send_headers(stream, [(b":status", b"200")])
            self.h2.send_data(stream, b'{"name":"projects/p/messages/1"}', end_stream=True)
        self.speak()

    def close(self) -> None:
        self.open = False

    abort = close


@pytest.fixture
async def wired() -> Iterator[object]:
    """`wired(changed, streams=, patience=)`: a wire whose link is connected; `speak` makes it ready."""
    wires: list[Wire] = []

    def make(changed=lambda: None, *, streams: int = 10, patience: Patience | None = None) -> Wire:
        link = Link(changed, patience or Patience())
        wires.append(Wire(link, streams))
        link.connection_made(wires[-1])
        link.flush()
        return wires[-1]

    yield make
    for wire in wires:
        wire.link.abort("the test is over")
        wire.link.connection_lost(None)
    await asyncio.sleep(0)
