"""TLS in front of the HTTP server, as tolerant as Google's front end.

Over HTTP/2 the official Node SDK names the scheme of its requests `https:`, colon included. Google's front end bears
it; a strict server (ours, and most) resets every such stream as malformed. So TLS ends here, the name is mended in the
bytes that pass, and they go on in clear to the HTTP server of this process.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = 9
"""Bytes of a frame's head: length (3), type, flags, stream (4)."""
HEADERS = 1
CHUNK = 65536
INNER_HOST = "127.0.0.1"

# A literal field whose name is `:scheme` (entries 6 and 7 of HPACK's static table), in any of the three indexing forms,
# and whose value is `https:`, Huffman-coded or not. What a client may keep in its table is one byte longer than what the
# server keeps then: the server never evicts an entry that the client still refers to.
_WRONG_SCHEME = re.compile(rb"([\x06\x07\x16\x17\x46\x47])(?:\x85\x9d\x29\xad\x17\x3f|\x06https:)", re.DOTALL)
_RIGHT_SCHEME = b"\\1\x05https"


class SchemeMender:
    """Mends the scheme in what an HTTP/2 client sends; bytes in, bytes out, whatever their grouping."""

    def __init__(self) -> None:
        self._held = b""
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """What may go on now; an unfinished frame is held back."""
        held = self._held + data
        passed: list[bytes] = []
        place = 0
        if not self._begun:
            if len(held) < len(PREFACE):
                self._held = held
                return b""
            self._begun = True
            place = len(PREFACE)
            passed.append(held[:place])
        while len(held) - place >= HEAD:
            end = place + HEAD + int.from_bytes(held[place : place + 3], "big")
            if len(held) < end:
                break
            passed.append(_mended(held[place:end]) if held[place + 3] == HEADERS else held[place:end])
            place = end
        self._held = held[place:]
        return b"".join(passed)


def _mended(frame: bytes) -> bytes:
    block, changes = _WRONG_SCHEME.subn(_RIGHT_SCHEME, frame[HEAD:], count=1)
    return len(block).to_bytes(3, "big") + frame[3:HEAD] + block if changes else frame


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer; the HTTP version is agreed by ALPN.

    Raises:
        OSError: a file cannot be read, or holds no such thing (`ssl.SSLError`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


class Entrance:
    """Takes connections at one port over TLS and carries them to another of this machine in clear."""

    def __init__(self, context: ssl.SSLContext, inner_port: int) -> None:
        self._context = context
        self._inner_port = inner_port
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._closed = False

    async def open(self, host: str, port: int, backlog: int) -> None:
        """Begins to take connections; the port may be reserved by a socket with SO_REUSEPORT."""
        self._server = await asyncio.start_server(
            self._carry, host, port, ssl=self._context, reuse_port=True, backlog=backlog
        )

    def close(self) -> None:
        """Takes no more connections and ends those there are."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for pump in self._pumps:
            pump.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(INNER_HOST, self._inner_port)
        except OSError:
            writer.close()
            return
        mender = SchemeMender() if _speaks_http_2(writer) else None
        pumps = {
            asyncio.create_task(_pump(reader, inner_writer, mender)),
            asyncio.create_task(_pump(inner_reader, writer, None)),
        }
        self._pumps |= pumps
        if not self._closed:
            # Either side's end is the end of both: a connection that was cut inside must be cut outside.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        self._pumps -= pumps
        inner_writer.close()
        writer.close()


def _speaks_http_2(writer: asyncio.StreamWriter) -> bool:
    tls = writer.get_extra_info("ssl_object")
    return tls is not None and tls.selected_alpn_protocol() == "h2"


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mender: SchemeMender | None
) -> None:
    """Carries bytes one way until either end is closed."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(mender.feed(data) if mender else data)
            await writer.drain()
    except OSError:  # also TLS errors: the other side is gone
        return
