"""A fixed answer at the speed of a socket: FCM's part in the benchmarks, so that the server is not what is measured.

Serves `POST /batch` (as many parts as were sent, each accepted), `POST /fcm/send` and `/iid/v1:batchAdd` (as many results
as there are tokens of `stage.token`), `POST .../token` (an access token), `GET /counts` (connections so far) and any
other POST (one accepted message). Nothing is checked or remembered; `dispatcher emulator` is the one for tests.

    python benchmarks/server.py PORT [LATENCY_MS]
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

BOUNDARY = b"batch_bench"
NAME = b'{"name":"projects/bench/messages/0:1731000000222333%%5f0e1d2c%08x"}'
PARTS = [
    b"--batch_bench\r\nContent-Type: application/http\r\nContent-ID: response-%d\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nVary: Origin\r\n\r\n"
    % number
    + NAME % number
    + b"\r\n"
    for number in range(1, 501)
]
NAMED = [
    part.replace(b"ID: response-%d\r" % n, b"ID: <response-1 + %d>\r" % n) for n, part in enumerate(PARTS, 1)
]
"""For clients that name their parts `<... + 1>`, and insist on being answered so."""


def _json(content: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Length: %d\r\n\r\n"
    return head % len(content) + content


SENT = b'{"message_id":"0:1731000000333444%5f0e1d2c"}'
SINGLE = _json(NAME % 1)
ACCESS_TOKEN = "ya29." + "b" * 1019
"""As long as Google's: it goes with every request."""
TOKEN = _json(b'{"access_token":"%b","expires_in":3600,"token_type":"Bearer"}' % ACCESS_TOKEN.encode())


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests one at a time."""

    latency = 0.0
    accepted = 0

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.missing = -1
        self.path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport
        Connection.accepted += 1

    def data_received(self, data: bytes) -> None:
        """Collect a request; answer when it is whole."""
        if self.missing < 0:
            data = b"".join([*self.pieces, data])
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.pieces = [data]
                return
            if data.startswith(b"GET "):
                self.transport.write(_json(b"%d" % Connection.accepted))
                return
            head = data[:end].lower()
            at = head.index(b"content-length:") + 15
            length = int(head[at : head.find(b"\r\n", at) if b"\r\n" in head[at:] else None])
            self.path = data[5 : data.index(b" ", 5)]
            self.pieces = []
            data = data[end + 4 :]
            self.missing = length
        self.pieces.append(data)
        self.missing -= len(data)
        if self.missing == 0:
            body = b"".join(self.pieces)
            self.pieces = []
            self.missing = -1
            answer = self.answer(body)
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self.answer_late, answer)
            else:
                self.transport.write(answer)

    def answer_late(self, answer: bytes) -> None:
        """If the client still waits for it."""
        if not self.transport.is_closing():
            self.transport.write(answer)

    def answer(self, body: bytes) -> bytes:
        """One accepted message for a single send, as many as were sent for all others."""
        if self.path == b"/fcm/send":
            count = body.count(b":APA91b")
            head = (
                b'{"multicast_id":6254812345678901234,"success":%d,"failure":0,"canonical_ids":0,"results":['
                % count
            )
            return _json(b"%b%b]}" % (head, b",".join([SENT] * count)))
        if self.path == b"/iid/v1:batchAdd":
            return _json(b'{"results":[%b]}' % b",".join([b"{}"] * body.count(b":APA91b")))
        if self.path != b"/batch":
            return TOKEN if self.path.endswith(b"/token") else SINGLE
        parts = NAMED if b"\nContent-ID: <" in body[:400] else PARTS
        content = b"".join([*parts[: body.count(b"application/http")], b"--batch_bench--\r\n"])
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=batch_bench\r\nContent-Length: %d\r\n\r\n"
            % len(content)
            + content
        )


async def main(port: int, latency_s: float) -> None:
    Connection.latency = latency_s
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.0))
