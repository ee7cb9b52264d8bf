"""An ack for every stanza, over TLS, to whoever logs in: XMPP's part in the benchmarks.

    python benchmarks/xmpp_server.py FOLDER [LATENCY_MS]

FOLDER holds `ca.pem` and `key.pem`; what it prints is its port.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import orjson
import uvloop

from dispatcher.emulator.xmpp_listener import tls_context
from dispatcher.protocol.xml_stream import Element, Opened, StreamReader

HEADER = (
    b'<stream:stream from="fcm.googleapis.com" id="1" version="1.0" xmlns="jabber:client" '
    b'xmlns:stream="http://etherx.jabber.org/streams">'
)
MECHANISMS = (
    b'<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism>'
    b"</mechanisms></stream:features>"
)
BIND = b'<stream:features><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></stream:features>'
SUCCESS = b'<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>'
BOUND = b'<iq type="result" id="%b"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><jid>1@fcm.googleapis.com/1</jid></bind></iq>'
ACK = (
    b'<message><data:gcm xmlns:data="google:mobile:data">{"from":"%b","message_id":"%b","message_type":"ack"}'
    b"</data:gcm></message>"
)


class Connection(asyncio.Protocol):
    """One client."""

    latency = 0.0

    def __init__(self) -> None:
        self.reader = StreamReader()
        self.known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what came, in one piece."""
        answer = b"".join(self.answer(event) for event in self.reader.feed(data))
        if self.latency and self.known:
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, answer)
        else:
            self.transport.write(answer)

    def answer(self, event: object) -> bytes:
        """What one piece of the stream is answered with."""
        if isinstance(event, Opened):
            return HEADER + (BIND if self.known else MECHANISMS)
        if not isinstance(event, Element):
            return b""
        if event.tag.endswith(" auth"):
            self.known, self.reader = True, StreamReader()
            return SUCCESS
        if event.tag.endswith(" iq"):
            return BOUND % event.attributes["id"].encode()
        body = orjson.loads(event.children[0].text)
        return ACK % (body["to"].encode(), body["message_id"].encode())


async def main(folder: Path, latency_s: float) -> None:
    Connection.latency = latency_s
    context = tls_context(folder / "ca.pem", folder / "key.pem")
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.0))
