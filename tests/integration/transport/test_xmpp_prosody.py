"""Our XMPP connection at a server that we did not write: prosody, for TLS from the first byte, stream, SASL and binding."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import socket
import ssl
import subprocess
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.emulator.xmpp_listener import write_certificate
from dispatcher.transport.xmpp_client import Account, Client, LoginRefused, connect

USER, PASSWORD = "884400112233", "AAAAprosody:key"
CONFIG = """
run_as_root = true
daemonize = false
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
certificates = "{folder}"
log = {{ info = "{folder}/log" }}
modules_enabled = {{ "saslauth", "tls" }}
modules_disabled = {{ "s2s", "offline" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ }}
s2s_ports = {{ }}
c2s_direct_tls_ports = {{ {port} }}
legacy_ssl_ports = {{ {port} }}
authentication = "internal_plain"
allow_unencrypted_plain_auth = false
ssl = {{ key = "{folder}/key.pem"; certificate = "{folder}/ca.pem" }}
VirtualHost "localhost"
"""


class Prosody:
    """The server's process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        write_certificate(folder / "ca.pem", folder / "key.pem", ["localhost", "127.0.0.1"])
        accounts = folder / "data" / "localhost" / "accounts"
        accounts.mkdir(parents=True)
        (accounts / f"{USER}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}"; }};\n')
        config = folder / "prosody.cfg.lua"
        config.write_text(CONFIG.format(folder=folder, port=self.port))
        self.process = subprocess.Popen(
            ["prosody", "--config", str(config), "-F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""

    async def enter(self, password: str = PASSWORD, **changes: object) -> tuple[Client, asyncio.Future[str]]:
        """A connection that has logged in, and why it ended."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        account = Account("127.0.0.1", self.port, "localhost", USER, USER)
        tls = changes.get("tls") or ssl.create_default_context(cafile=self.folder / "ca.pem")
        client = await connect(
            account, password, tls, 10.0, on_messages=lambda _: None, on_end=ended.set_result
        )
        client.start()
        return client, ended


async def served(prosody: Prosody) -> None:
    """Until the port answers."""
    async with asyncio.timeout(20):
        while True:
            assert prosody.process.poll() is None, prosody.log
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", prosody.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@pytest.fixture(scope="module")
def prosody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody]:
    if shutil.which("prosody") is None:
        message = "prosody is not installed (Debian package prosody)"
        # Where everything is meant to be installed, a test that is left out is a test that failed.
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    server = Prosody(tmp_path_factory.mktemp("prosody"))
    yield server
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(timeout=10)
    finally:
        server.process.kill()
        server.process.wait()


async def test_it_logs_in_binds_and_leaves_in_good_order(prosody):
    await served(prosody)
    client, ended = await prosody.enter()
    assert client.boundjid.bare == f"{USER}@localhost"
    assert client.boundjid.resource
    assert f"Authenticated as {USER}@localhost" in prosody.log
    client.end("done")
    async with asyncio.timeout(10):
        assert await ended == "done"


async def test_connections_that_have_ended_leave_nothing_in_memory(prosody):
    await served(prosody)
    past = []
    for _ in range(5):
        client, ended = await prosody.enter()
        client.end("done")
        await ended
        past.append(weakref.ref(client))
        del client, ended
    await asyncio.sleep(0)
    gc.collect()
    assert [ref() for ref in past] == [None] * 5


async def test_a_wrong_password_is_a_refused_login_and_not_a_lost_connection(prosody):
    await served(prosody)
    with pytest.raises(LoginRefused, match="not-authorized"):
        await prosody.enter("AAAAwrong:key")


async def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_password_is_sent(prosody):
    await served(prosody)
    before = prosody.log.count("Authenticated")
    with pytest.raises(ssl.SSLCertVerificationError):
        await prosody.enter(tls=ssl.create_default_context())
    assert prosody.log.count("Authenticated") == before


async def test_a_stanza_that_the_server_cannot_read_ends_the_stream_and_says_why(prosody):
    await served(prosody)
    client, ended = await prosody.enter()
    client.write(b"<message><<")
    async with asyncio.timeout(10):
        why = await ended
    assert why.startswith("stream error: ")
