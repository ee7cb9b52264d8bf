"""Runs the emulator: one process, one event loop, HTTP/1.1 and HTTP/2 on one port."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server

from dispatcher.emulator.app import Emulator
from dispatcher.emulator.connections import cut
from dispatcher.emulator.entrance import INNER_HOST, Entrance, tls_context
from dispatcher.emulator.faults import Scenario
from dispatcher.emulator.wire import Reply, Request
from dispatcher.emulator.xmpp_listener import Listener, write_certificate
from dispatcher.emulator.xmpp_listener import tls_context as xmpp_tls_context
from dispatcher.errors import SettingsError

BACKLOG = 4096
"""Connections that may wait or be open; a v1 client over HTTP/1.1 opens one per message under way."""
PROBE_INTERVAL = 0.005
GOOGLE_NAMES = ("fcm.googleapis.com", "gcm.googleapis.com", "fcm-xmpp.googleapis.com")
"""In the certificate for XMPP: clients that are led here look for the name that they asked for."""
FLUSH_TIME = 0.02
"""Seconds the HTTP server has to write what it was given, before its connection is cut."""


class Options(msgspec.Struct, kw_only=True):
    """How the emulator is run.

    Attributes:
        host: address to listen on.
        port: 0: any that is free.
        credentials: folder to write one service-account file per project into; None: none are written.
        projects: ids to write credentials for.
        scenario: faults, quotas and limits from the start.
        tls_cert, tls_key: PEM files; with both it speaks TLS and chooses the HTTP version by ALPN.
        max_streams: concurrent HTTP/2 streams of a connection; Google's is 100 (quota rules, section 6).
        xmpp_port: XMPP too, at this port, over TLS always; 0: any that is free; None: no XMPP. Without `tls_cert` it has
            a certificate of its own.
        public_host: host name for the credentials' addresses, where clients do not reach it under `host`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    credentials: Path | None = None
    projects: list[str] = []
    scenario: Scenario = msgspec.field(default_factory=Scenario)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_streams: int = 100
    xmpp_port: int | None = None
    public_host: str = ""


class Ready(msgspec.Struct, omit_defaults=True):
    """What is told once it serves: the ready line is this as JSON.

    Attributes:
        url: base of every endpoint, no slash at the end.
        credentials: the files written, by project.
        xmpp: host and port of XMPP.
        ca_file: the certificate that XMPP's clients have to trust, if it is its own.
    """

    url: str
    credentials: dict[str, str] = {}
    xmpp: str = ""
    ca_file: str = ""


def load_scenario(path: Path) -> Scenario:
    """Reads a faults file.

    Raises:
        SettingsError: it cannot be read, or is no scenario.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scenario)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise SettingsError(f"faults file {path}: {error}") from error


def run(options: Options, *, ready: Callable[[Ready], None]) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        options: see there.
        ready: called once, when connections are answered.

    Raises:
        SettingsError: the port is taken, a project id or a certificate is wrong, the folder cannot be written.
    """
    uvloop.run(serve(options, ready=ready))


async def serve(
    options: Options, *, ready: Callable[[Ready], None], stop: asyncio.Event | None = None
) -> None:
    """Serves until SIGTERM or SIGINT, or until `stop` is set; see `run`."""
    loop = asyncio.get_running_loop()
    emulator = Emulator(options.scenario)
    with ExitStack() as reservations:
        port = reservations.enter_context(_reserved(options.host, options.port)).getsockname()[1]
        inner_host, inner_port, entrance = options.host, port, None
        if options.tls_cert and options.tls_key:
            inner_host = INNER_HOST
            inner_port = reservations.enter_context(_reserved(INNER_HOST, 0)).getsockname()[1]
            entrance = _entrance(options.tls_cert, options.tls_key, inner_port)
        told = _enrol(options, emulator, port)
        listener = None
        if options.xmpp_port is not None:
            xmpp_port = reservations.enter_context(_reserved(options.host, options.xmpp_port)).getsockname()[
                1
            ]
            listener = _xmpp(options, emulator, told, reservations)
            told.xmpp = f"{_shown(options)}:{xmpp_port}"
        stopping = stop or asyncio.Event()
        server = _server(options, emulator, stopping, inner_host, inner_port)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        serving = loop.create_task(server.serve())
        stopped = loop.create_task(stopping.wait())
        try:
            await _listening(inner_host, inner_port, serving)
            if entrance is not None:
                await entrance.open(options.host, port, BACKLOG)
            if listener is not None:
                await listener.open(options.host, xmpp_port)
            ready(told)
            await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if entrance is not None:
                entrance.close()
            if listener is not None:
                listener.close()
            server.stop()
            await serving
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def _reserved(host: str, port: int) -> socket.socket:
    """A socket that holds the port, never listening: the server's own shares it by SO_REUSEPORT.

    Without it another process could take a port that was free a moment ago, or two emulators share one unnoticed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if port:
            with socket.socket(family) as probe:  # without SO_REUSEPORT: fails if anybody has the port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        reservation = socket.socket(family)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind((host, port))
    except OSError as error:
        reason = (
            "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror or error}"
        )
        raise SettingsError(f"port {port} of {host} {reason}; choose another, or 0 for any") from error
    return reservation


def _entrance(certificate: Path, key: Path, inner_port: int) -> Entrance:
    try:
        return Entrance(tls_context(certificate, key), inner_port)
    except OSError as error:
        raise SettingsError(f"certificate {certificate} or key {key}: {error}") from error


def _xmpp(options: Options, emulator: Emulator, told: Ready, files: ExitStack) -> Listener:
    """The XMPP port, not open yet; with a certificate of its own if none was given."""
    certificate, key = options.tls_cert, options.tls_key
    try:
        if certificate is None or key is None:
            folder = Path(files.enter_context(TemporaryDirectory(prefix="fcm-emulator-")))
            certificate, key = folder / "emulator-ca.pem", folder / "key.pem"
            hosts = dict.fromkeys(["localhost", "127.0.0.1", "::1", _shown(options), *GOOGLE_NAMES])
            write_certificate(certificate, key, list(hosts))
            if options.credentials is not None:
                certificate = Path(copyfile(certificate, options.credentials / certificate.name))
            told.ca_file = str(certificate)
        return Listener(emulator.xmpp, xmpp_tls_context(certificate, key))
    except OSError as error:
        raise SettingsError(f"certificate {certificate} or key {key}: {error}") from error


def _shown(options: Options) -> str:
    """The host that clients are told."""
    return options.public_host or ("127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host)  # noqa: S104 - compared, not bound


def _enrol(options: Options, emulator: Emulator, port: int) -> Ready:
    scheme = "https" if options.tls_cert else "http"
    host = _shown(options)
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    if options.credentials is None:
        return Ready(url)
    try:
        files = emulator.state.enrol(options.credentials, url, options.projects)
    except (OSError, ValueError) as error:
        raise SettingsError(f"credentials in {options.credentials} cannot be written: {error}") from error
    return Ready(url, files)


def _server(
    options: Options, emulator: Emulator, stopping: asyncio.Event, host: str, port: int
) -> Any:  # granian annotates only a part of it
    async def endpoint(scope: Any, protocol: Any) -> None:
        await _serve_one(emulator, stopping, scope, protocol)

    return Server(
        endpoint,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.auto,
        websockets=False,
        backlog=BACKLOG,
        log_enabled=False,
        http1_settings=HTTP1Settings(),
        http2_settings=HTTP2Settings(max_concurrent_streams=options.max_streams),
    )


async def _serve_one(emulator: Emulator, stopping: asyncio.Event, scope: Any, protocol: Any) -> None:
    """Carries one request from the HTTP server to the emulator, and the reply back with its troubles."""
    body = await protocol()
    request = Request(
        scope.method,
        scope.path,
        scope.query_string,
        scope.headers.get,
        body,
        scope.client,
        scope.http_version,
    )
    try:
        reply = emulator.handle(request)
    except Exception:  # noqa: BLE001 - a fault of ours must be seen, and must not look like one that was scripted
        sys.stderr.write(f"emulator: {request.method} {request.path} failed\n{traceback.format_exc()}")
        reply = Reply(500, [("content-type", "text/plain")], b"the emulator itself failed, see its stderr\n")
    if reply.delay > 0.0 and await _stopped_within(stopping, reply.delay):
        reply.cut = True
    if reply.cut:
        cut(request.peer)
    if reply.keep is not None and reply.keep < len(reply.body):
        await _break_off(reply, reply.keep, request.peer, protocol)
        return
    protocol.response_bytes(reply.status, reply.headers, reply.body)


async def _stopped_within(stopping: asyncio.Event, delay: float) -> bool:
    """Waits for `delay` seconds, or less if the emulator is stopped meanwhile: no delay holds up its end."""
    try:
        async with asyncio.timeout(delay):
            return await stopping.wait()
    except TimeoutError:
        return False


async def _break_off(reply: Reply, keep: int, peer: str, protocol: Any) -> None:
    """Promises the whole body, sends a part of it and cuts the connection.

    Ending the body early would do for HTTP/1.1; over HTTP/2 it is a proper end of stream that careless clients
    take for a whole answer.
    """
    stream = protocol.response_stream(
        reply.status, [*reply.headers, ("content-length", str(len(reply.body)))]
    )
    await stream.send_bytes(reply.body[:keep])
    await asyncio.sleep(FLUSH_TIME)
    cut(peer)


async def _listening(host: str, port: int, serving: asyncio.Task[None]) -> None:
    """Waits until connections are taken; raises what the server raised if it ends before."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    while True:
        if serving.done():
            serving.result()
            raise SettingsError(f"the HTTP server on port {port} ended before it served")
        try:
            _, writer = await asyncio.open_connection(address, port)
        except OSError:
            await asyncio.sleep(PROBE_INTERVAL)
        else:
            writer.close()
            return
