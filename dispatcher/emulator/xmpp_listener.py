"""The emulator's XMPP port: TLS from the first byte, as CCS has it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dispatcher.emulator.xmpp import Xmpp
from dispatcher.emulator.xmpp_session import Outlet, Session

BACKLOG = 1024


class _Socket(asyncio.Protocol):
    """One connection's socket; what is said in answer to one piece of data leaves in one piece."""

    def __init__(self, xmpp: Xmpp, sockets: set[_Socket]) -> None:
        self._xmpp = xmpp
        self._sockets = sockets
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._said: list[bytes] = []
        self._receiving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._sockets.add(self)
        self._session = Session(self._xmpp, Outlet(self._write, self._later, self._close, self.abort))

    def data_received(self, data: bytes) -> None:
        if self._session is None:
            return
        self._receiving = True
        self._session.receive(data)
        self._receiving = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._sockets.discard(self)
        if self._session is not None:
            self._session.lost()

    def abort(self) -> None:
        """At once, whatever has been written."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        self._said.append(data)
        if not self._receiving:
            self._flush()

    def _flush(self) -> None:
        if self._said and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._said))
        self._said.clear()

    def _later(self, delay: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay, call)

    def _close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()


class Listener:
    """Takes connections.

    Args:
        xmpp: what they have in common.
        context: with a certificate.
    """

    def __init__(self, xmpp: Xmpp, context: ssl.SSLContext) -> None:
        self._xmpp = xmpp
        self._context = context
        self._sockets: set[_Socket] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> None:
        """Begins to take connections; the port may be reserved by a socket with SO_REUSEPORT."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Socket(self._xmpp, self._sockets),
            host,
            port,
            ssl=self._context,
            reuse_port=True,
            backlog=BACKLOG,
        )

    def close(self) -> None:
        """Takes no more connections and ends those there are."""
        if self._server is not None:
            self._server.close()
        for each in list(self._sockets):
            each.abort()


def write_certificate(certificate: Path, key: Path, hosts: list[str]) -> None:
    """A certificate for these names and addresses, signed by itself, and its key.

    Raises:
        OSError: they cannot be written.
    """
    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fcm-dispatcher emulator")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([_name_of(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private_key, hashes.SHA256())
    )
    key.touch(mode=0o600)
    key.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _name_of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer.

    Raises:
        OSError: a file cannot be read, or holds no such thing (`ssl.SSLError`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
