"""Over a real sentinel: the master is found, and found again after a failover."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest
import redis

from dispatcher.errors import QueueUnavailable
from dispatcher.queue.embedded import EmbeddedRedis, find_servers
from dispatcher.queue.store import Queue


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def sentinel(tmp_path) -> Iterator[tuple[redis.Redis, int]]:
    """A sentinel over a master and one replica: (client of the sentinel, its port)."""
    servers = find_servers()
    if not servers:
        if os.environ.get("CI") == "true":
            pytest.fail("no Redis server")
        pytest.skip("no Redis server")
    with contextlib.ExitStack() as stack:
        master, replica, port = free_port(), free_port(), free_port()
        here = ("--bind", "127.0.0.1", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
        stack.enter_context(EmbeddedRedis(servers[0], ("--port", str(master), *here)))
        follow = ("--port", str(replica), *here, "--replicaof", "127.0.0.1", str(master))
        follower = stack.enter_context(EmbeddedRedis(servers[0], follow))
        client = redis.Redis.from_url(follower.url)
        stack.callback(client.close)
        while client.info("replication")["master_link_status"] != "up":
            pass
        conf = tmp_path / "sentinel.conf"
        conf.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor m 127.0.0.1 {master} 1\n"
            "sentinel down-after-milliseconds m 1000\n"
        )
        process = subprocess.Popen(
            [servers[0], conf, "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        watcher = redis.Redis(port=port)
        stack.callback(watcher.close)
        yield watcher, port


def _until(call):
    """The first result that is no error and not empty: processes start and agree when they like."""
    while True:
        with contextlib.suppress(redis.RedisError):
            if result := call():
                return result


async def test_the_new_master_is_found_after_a_failover(sentinel):
    watcher, port = sentinel
    first = _until(lambda: watcher.sentinel_get_master_addr_by_name("m"))
    queue = Queue.at(f"redis+sentinel://127.0.0.1:{port}/m/0", consumer="me")
    await queue.acquire("p", 1, 300)
    await queue.enqueue("p", "normal", [["message", "1"]])
    assert (await queue.check_server()).mode == "standalone"
    _until(lambda: watcher.execute_command("SENTINEL FAILOVER", "m"))
    while watcher.sentinel_get_master_addr_by_name("m") == first:
        pass
    ids = None
    while ids is None:
        with contextlib.suppress(QueueUnavailable):
            ids = await queue.enqueue("p", "normal", [["message", "2"]])
    read = await queue.read("p", "normal", 10)
    assert [fields for _, fields in read] == [[b"message", b"1"], [b"message", b"2"]]
    assert (await queue.settle_accepted("p", "normal", 1, [i for i, _ in read], b"[{},{}]")).live == 2
    await queue.aclose()


async def test_no_sentinel_is_unavailable():
    queue = Queue.at(f"redis+sentinel://127.0.0.1:{free_port()}/m", consumer="me")
    with pytest.raises(QueueUnavailable):
        await queue.ping()
    await queue.aclose()
