"""A Cluster of three: workers in flow while a project's slot moves, a node dies and comes back, a slot is lost."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness.processes import RedisServer
from harness.stage import PROJECT, Stage
from harness.waiting import pass_time, until
from redis.asyncio.cluster import ClusterNode, RedisCluster

from dispatcher.errors import QueueUnavailable
from dispatcher.queue.store import Queue

PROJECTS = (PROJECT, "second-42", "third-43", "fourth-44")
"""In slots of their own, on more than one server."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """Three masters, the first of them the stage's own server."""

    def __init__(self, stage: Stage, servers: list[RedisServer], coverage: str) -> None:
        self.stage = stage
        self.servers = servers
        self.clients = [server.client for server in servers]
        self._coverage = coverage
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)
        self.names: list[str] = []

    async def form(self) -> None:
        """Give out the slots and wait until all agree."""
        for number, server in enumerate(self.servers):
            await server.client.config_set("cluster-require-full-coverage", self._coverage)
            slots = range(number * 5462, min(16384, (number + 1) * 5462))
            await server.client.execute_command("CLUSTER", "ADDSLOTS", *slots)
            await server.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number:
                meet = ("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)
                await server.client.execute_command(*meet, int(await bus(self.servers[0])))
            self.names.append(await server.client.execute_command("CLUSTER", "MYID"))
        await until(self.agreed, what="the Cluster stands")

    async def agreed(self) -> bool:
        facts = [await info(client) for client in self.clients]
        return all(
            fact["cluster_state"] == "ok"
            and fact["cluster_slots_ok"] == "16384"
            and fact["cluster_size"] == "3"
            for fact in facts
        )

    async def slot(self, project: str) -> int:
        key = self.stage.keys.control(project)
        return int(await self.clients[0].execute_command("CLUSTER", "KEYSLOT", key))

    async def owner(self, project: str) -> int:
        """Number of the server that has a project's slot."""
        return min(2, await self.slot(project) // 5462)

    async def move(self, project: str, source: int, target: int, while_open: Any = None) -> None:
        """Reshard one slot, as redis-cli does it: mark both ends, move key by key, tell everybody."""
        slot = await self.slot(project)
        here, there = self.clients[source], self.clients[target]
        setslot = ("CLUSTER", "SETSLOT", slot)
        await there.execute_command(*setslot, "IMPORTING", self.names[source])
        await here.execute_command(*setslot, "MIGRATING", self.names[target])
        if while_open is not None:
            await while_open()
        to = ("127.0.0.1", self.servers[target].port, "", 0, 10_000)
        # Key by key: for a while some are here and some there, and scripts are told to try again.
        while keys := await here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
            await here.execute_command("MIGRATE", *to, "KEYS", *keys)
        for client in (there, here, *self.clients):
            await client.execute_command(*setslot, "NODE", self.names[target])
        # Whoever looks from outside knows it at once; the workers find out by themselves.
        await self.stage.redis.client.nodes_manager.initialize()


async def info(client: Any) -> dict[str, str]:
    found = await client.execute_command("CLUSTER", "INFO")
    return found if isinstance(found, dict) else dict(line.split(":", 1) for line in found.split())


async def bus(server: RedisServer) -> str:
    return (await server.client.config_get("cluster-port"))["cluster-port"]


@contextlib.asynccontextmanager
async def a_cluster(make_stage: Any, folder: Path, coverage: str = "yes") -> AsyncIterator[Cluster]:
    """A stage on a Cluster."""

    def options() -> tuple[str, ...]:
        bus_port = str(free_port())
        return ("--cluster-enabled", "yes", "--cluster-port", bus_port, "--cluster-node-timeout", "1000")

    stage: Stage = await make_stage(
        redis_port=free_port(), redis_options=(*options(), "--appendonly", "yes"), projects=PROJECTS
    )
    servers = [stage.redis]
    async with contextlib.AsyncExitStack() as stack:
        for number in (1, 2):
            here = folder / f"n{number}"
            server = RedisServer(here, free_port(), (*options(), "--appendonly", "yes"))
            stack.push_async_callback(server.client.aclose)
            await server.start()
            stack.push_async_callback(server.kill)
            servers.append(server)
        cluster = Cluster(stage, servers, coverage)
        await cluster.form()
        alone = stage.redis.client
        nodes = [ClusterNode("127.0.0.1", server.port) for server in servers]
        whole = RedisCluster(
            startup_nodes=nodes, protocol=2, decode_responses=True, require_full_coverage=False
        )
        stack.push_async_callback(whole.aclose)
        try:
            # What looks from outside looks at all servers; the Cluster keeps the client of each.
            stage.redis.client = whole
            yield cluster
        finally:
            stage.redis.client = alone


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_project_moves_to_another_server_while_its_workers_flow(make_stage, close, tmp_path):
    """MOVED, ASK and TRYAGAIN cost time, and no job: twice, there and back, with a kill in between."""
    async with a_cluster(make_stage, tmp_path) as cluster:
        stage = cluster.stage
        await stage.emulator.script(latency=0.3)
        workers = await stage.crew(2, redis_url=cluster.url, max_concurrent_requests=4, batch_size=50)
        home = await cluster.owner(PROJECT)
        away = (home + 1) % 3
        for project in PROJECTS:
            await stage.produce(600, project=project, campaign="spring")
        await until(stage.emulator.accepted)
        for worker in workers:
            await stage.note(worker, "slot moved under")
        await cluster.move(PROJECT, home, away)

        async def has_work() -> int:
            # The other one may have read all that was there.
            await stage.produce(200, lane="bulk")
            return await stage.pending(workers[0])

        await until(has_work)
        await stage.kill(workers[0])
        for worker in workers[1:]:
            await stage.note(worker, "slot moved back under")
        await cluster.move(PROJECT, away, home)
        await stage.settled()
        await close(stage, counters=False)


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_server_of_the_cluster_is_killed_and_comes_back(make_stage, close, tmp_path):
    """Projects of the others flow on; its own wait, and lose nothing that was on disk."""
    async with a_cluster(make_stage, tmp_path, coverage="no") as cluster:
        stage = cluster.stage
        await stage.emulator.script(latency=0.05)
        workers = await stage.crew(2, redis_url=cluster.url, max_concurrent_requests=4, batch_size=50)
        lost = await cluster.owner(PROJECTS[1])
        others = [project for project in PROJECTS if await cluster.owner(project) != lost]
        assert others
        for project in PROJECTS:
            await stage.produce(300, project=project)
        await until(stage.emulator.accepted)
        async with stage.held_still("a server lost under", *workers):
            whole, stage.redis.client = stage.redis.client, cluster.clients[0]
            await cluster.servers[lost].kill()
            stage.redis.client = whole
        for project in others:
            await stage.produce(300, project=project)
        # With one server away: longer than a lease, so that none is kept by chance.
        await stage.settled(projects=others)
        await pass_time(1.5 * stage.lease_s)
        for project in others:
            await stage.produce(300, project=project)
        await stage.settled(projects=others)
        stage.redis.client = cluster.clients[0]
        await cluster.servers[lost].start()
        stage.redis.client = whole
        await until(cluster.agreed, 30, "the Cluster stands again")
        await stage.settled()
        await close(stage, counters=False)


async def test_a_slot_that_no_server_holds_is_told_in_one_line(make_stage, tmp_path):
    """By check, and by a worker at its start, which waits until the slot is held again and then serves."""
    async with a_cluster(make_stage, tmp_path) as cluster:
        stage = cluster.stage
        slot = await cluster.slot(PROJECT)
        owner = await cluster.owner(PROJECT)
        for client in cluster.clients:
            await client.execute_command("CLUSTER", "DELSLOTS", slot)
        await until(lambda: uncovered(cluster))
        queue = Queue.at(cluster.url, consumer="me")
        with pytest.raises(
            QueueUnavailable, match=r"1 of the 16384 slots .*redis-cli --cluster check"
        ) as told:
            await queue.check_server([PROJECT])
        assert "\n" not in str(told.value)
        with pytest.raises(QueueUnavailable):
            await queue.stats([PROJECT])
        worker = await stage.worker(ready=False, redis_url=cluster.url)
        (_, line) = (await until(lambda: worker.said("redis_unreachable")))[0]
        assert "--cluster fix" in line["error"]
        await cluster.clients[owner].execute_command("CLUSTER", "ADDSLOTS", slot)
        await until(cluster.agreed, 30)
        await until(lambda: stage.leased(worker), 30)
        assert len(worker.said("redis_unreachable")) == 1
        await queue.aclose()


async def uncovered(cluster: Cluster) -> bool:
    facts = [await info(client) for client in cluster.clients]
    return all(fact["cluster_slots_assigned"] == "16383" for fact in facts)
