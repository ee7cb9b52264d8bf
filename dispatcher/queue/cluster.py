"""Redis Cluster: every command goes to the node of its key's slot.

All of a project lives in one slot, so scripts work as they are. What differs: a read of several projects
cannot be one command (`Reading.wait` polls), and pipelines are sent to each node at once.

The node is chosen here and not by the client, which would ask a server for the keys of each XREADGROUP.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio.cluster import ClusterNode, PipelineCommand, RedisCluster
from redis.exceptions import AskError, MovedError, SlotNotCoveredError, TryAgainError

from dispatcher.errors import untie
from dispatcher.queue.address import Address
from dispatcher.queue.connection import BLOCK_TIMEOUT, CALL_TIMEOUT, Arg, Command, Server, client_options
from dispatcher.queue.faults import REDIS_ERRORS, is_missing_script
from dispatcher.queue.script import Script

_KEYLESS = {"TIME", "INFO", "SCAN", "PING", "CLUSTER"}
_MOVES = 4
"""Tries of a call that finds its slot moving."""
_KEY_AT_2 = {"XINFO", "XGROUP", "OBJECT"}


def key_of(command: Sequence[Arg]) -> str | None:
    """The (first) key of one of our commands; None: any node will do."""
    name = command[0]
    if name in _KEYLESS:
        return None
    if name in {"XREADGROUP", "XREAD"}:
        return str(command[list(command).index("STREAMS") + 1])
    return str(command[2 if name in _KEY_AT_2 else 1])


class ClusterServer(Server):
    """A Redis Cluster."""

    cluster = True

    def __init__(self, address: Address) -> None:
        super().__init__()
        self._client = _client(address, CALL_TIMEOUT)
        self._blocking = _client(address, BLOCK_TIMEOUT)

    async def _node(self, client: Any, key: str | None) -> Any:
        """Who has the slot of this key; None: anybody."""
        await client.initialize()
        if key is None:
            return client.get_default_node()
        try:
            return client.get_node_from_key(key)
        except SlotNotCoveredError:
            # A server that has lost a slot says where it is now; one that nobody had, nobody tells us of.
            await client.nodes_manager.initialize()
            return client.get_node_from_key(key)

    async def _send(self, client: Any, key: str | None, command: Sequence[Arg]) -> Any:
        node = await self._node(client, key)
        # The client follows MOVED and ASK, and waits for TRYAGAIN (resharding): in these cases the command
        # was not carried out.
        return await client.execute_command(*command, target_nodes=node)

    async def call(self, *command: Arg) -> Any:
        """See Server."""
        self.commands += 1
        try:
            return await self._send(self._client, key_of(command), command)
        except REDIS_ERRORS as error:
            raise self.failed(error) from error

    async def block(self, key: str, *command: Arg) -> Any:
        """See Server."""
        self.commands += 1
        try:
            return await self._send(self._blocking, key, command)
        except REDIS_ERRORS as error:
            raise self.failed(error) from error

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """See Server; a node that fails fails only its own commands' replies."""
        if not commands:
            return []
        self.commands += len(commands)
        replies: list[Any] = [None] * len(commands)
        by_node: dict[str, list[int]] = {}
        nodes = {}
        for number, command in enumerate(commands):
            try:
                node = await self._node(self._client, key_of(command))
            except REDIS_ERRORS as error:
                replies[number] = self.failed(error)
                continue
            nodes[node.name] = node
            by_node.setdefault(node.name, []).append(number)

        async def ask(node: Any, numbers: list[int]) -> None:
            pipe = self._client.pipeline()
            for number in numbers:
                pipe.execute_command(*commands[number], target_nodes=node)
            try:
                answers = await pipe.execute(raise_on_error=False)
            except REDIS_ERRORS as error:
                answers = [error] * len(numbers)
            for number, answer in zip(numbers, answers, strict=True):
                replies[number] = self.failed(answer) if isinstance(answer, Exception) else answer

        await asyncio.gather(*(ask(nodes[name], numbers) for name, numbers in by_node.items()))
        return replies

    async def eval(self, script: Script, keys: Sequence[str], args: Iterable[Arg]) -> Any:
        """See Server."""
        tail = (len(keys), *keys, *args)
        outer = sys.exception()
        self.commands += 1
        try:
            try:
                return await self._send(self._client, keys[0], ("EVALSHA", script.sha, *tail))
            except REDIS_ERRORS as error:
                if not is_missing_script(error):
                    raise
                untie(error, outer)
            self.commands += 1
            return await self._send(self._client, keys[0], ("EVAL", script.source, *tail))
        except REDIS_ERRORS as error:
            untie(error, outer)
            raise self.failed(error) from error

    async def eval_replicated(
        self, script: Script, keys: Sequence[str], args: Iterable[Arg], replicas: int, wait_ms: int
    ) -> tuple[Any, int]:
        """See Server."""
        tail = (len(keys), *keys, *args)
        name, text = "EVALSHA", script.sha
        try:
            for _ in range(_MOVES):
                self.commands += 2
                node = await self._node(self._client, keys[0])
                # The client's own pipeline refuses WAIT, and follows a slot that moves on another connection.
                both = [PipelineCommand(0, name, text, *tail), PipelineCommand(1, "WAIT", replicas, wait_ms)]
                await node.execute_pipeline(both)
                reply, reached = both[0].result, both[1].result
                if is_missing_script(reply):
                    name, text = "EVAL", script.source
                elif isinstance(reply, MovedError | AskError | TryAgainError):
                    # Not carried out; the client learns from this read where the slot is now.
                    await self._send(self._client, keys[0], ("EXISTS", keys[0]))
                else:
                    break
        except REDIS_ERRORS as error:
            raise self.failed(error) from error
        return self._both(reply, reached)

    async def scan(self, match: str) -> list[bytes]:
        """See Server: every primary is scanned."""
        found: list[bytes] = []
        try:
            await self._client.initialize()
            for node in self._client.get_primaries():
                cursor: Arg = 0
                while True:
                    self.commands += 1
                    command = ("SCAN", cursor, "MATCH", match, "COUNT", 1000)
                    cursor, keys = await self._client.execute_command(*command, target_nodes=node)
                    found += keys
                    if int(cursor) == 0:
                        break
        except REDIS_ERRORS as error:
            raise self.failed(error) from error
        return found

    async def infos(self, section: str) -> list[bytes]:
        """See Server: every primary is asked."""
        try:
            await self._client.initialize()
            nodes = self._client.get_primaries()
            self.commands += len(nodes)
            return [await self._client.execute_command("INFO", section, target_nodes=node) for node in nodes]
        except REDIS_ERRORS as error:
            raise self.failed(error) from error

    async def aclose(self) -> None:
        """See Server."""
        await self._client.aclose()
        await self._blocking.aclose()


def _client(address: Address, timeout: float) -> Any:  # the client's own methods are half annotated
    options = client_options(address, timeout)
    nodes = [ClusterNode(host, port, **options) for host, port in address.hosts]
    client: Any = RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
    for name in list(client.response_callbacks):
        if not name.startswith(("COMMAND", "CLUSTER")):  # how the client reads the topology
            del client.response_callbacks[name]
    client.result_callbacks.clear()
    return client
