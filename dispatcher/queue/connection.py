"""One way of calling Redis: raw replies, mapped errors, nothing repeated by itself.

Why not the client's own methods: they shape replies (a dict per entry) and repeat commands after a lost
reply. One repeated XADD is a second job, one repeated XREADGROUP ten entries nobody works on.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from dispatcher.errors import QueueError, untie
from dispatcher.queue.address import Address
from dispatcher.queue.clock import RedisClock
from dispatcher.queue.faults import REDIS_ERRORS, is_missing_group, is_missing_script, kind, mapped
from dispatcher.queue.script import Script

Arg = str | bytes | int | float
Command = tuple[Arg, ...]

CALL_TIMEOUT = 5.0
"""Seconds for one answer; a full or forking Redis stalls for about one."""
MAX_BLOCK_MS = 10_000
"""Longest blocking read: stopping waits for it to run out."""
BLOCK_TIMEOUT = MAX_BLOCK_MS / 1000 + CALL_TIMEOUT
"""Seconds for the answer to a blocking read: longer than it may block."""


def client_options(address: Address, timeout: float) -> dict[str, Any]:
    """What every connection of ours has in common, as arguments of the client.

    RESP2 is pinned: RESP3, the client's default, turns the reply of XREADGROUP into a dict.
    """
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "protocol": 2,
        "socket_timeout": timeout,
        "socket_connect_timeout": CALL_TIMEOUT,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,
    }
    if address.tls:
        options |= tls_options(address)
    return options


def tls_options(address: Address) -> dict[str, Any]:
    """TLS as arguments of the client: always verified, by the system's certificates and those of `ca_file`."""
    return {
        "ssl": True,
        "ssl_ca_certs": address.ca_file or None,
        "ssl_certfile": address.cert_file or None,
        "ssl_keyfile": address.key_file or None,
    }


class Server(ABC):
    """A Redis, however it is reached.

    Attributes:
        commands: commands sent so far, those of a pipeline counted one by one.
        errors: failed calls so far, by kind: `unavailable`, `full`, `misconfigured` or `refused`.
        clock: the Redis clock.
        cluster: reads of several projects cannot be one command.
    """

    cluster = False

    def __init__(self) -> None:
        self.commands = 0
        self.errors: Counter[str] = Counter()
        self.clock = RedisClock()

    @abstractmethod
    async def call(self, *command: Arg) -> Any:
        """Send one command whose second word is its key (or which has none) and return the raw reply."""

    @abstractmethod
    async def block(self, key: str, *command: Arg) -> Any:
        """Send one command that may block up to MAX_BLOCK_MS, on a connection of its own."""

    @abstractmethod
    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands together; each reply is raw, or the mapped QueueError of that command."""

    @abstractmethod
    async def eval(self, script: Script, keys: Sequence[str], args: Iterable[Arg]) -> Any:
        """Run a script of one slot; `keys` is not empty."""

    @abstractmethod
    async def eval_replicated(
        self, script: Script, keys: Sequence[str], args: Iterable[Arg], replicas: int, wait_ms: int
    ) -> tuple[Any, int]:
        """Run a script and wait, on the same connection, for replicas to have what it wrote.

        Returns:
            Its reply, and how many replicas have it.
        """

    @abstractmethod
    async def scan(self, match: str) -> list[bytes]:
        """All keys of this pattern, of the whole keyspace; some may come twice."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close all connections."""

    def failed(self, error: Exception) -> QueueError:
        """Our error for one of the client's, counted."""
        ours = mapped(error)
        # The exceptions are how a stream says that nobody has used it yet.
        if not is_missing_group(ours) and "no such key" not in str(ours):
            self.errors[kind(ours)] += 1
        return ours

    def _both(self, reply: Any, reached: Any) -> tuple[Any, int]:
        """The replies to a script and to the WAIT behind it."""
        if isinstance(reply, Exception):
            raise self.failed(reply) from reply
        if isinstance(reached, Exception):
            raise self.failed(reached) from reached
        return reply, reached

    async def infos(self, section: str) -> list[bytes]:
        """What INFO says, of each server that holds a part of the keys."""
        return [await self.call("INFO", section)]

    async def time(self) -> float:
        """The Redis clock, asked."""
        sent = monotonic()
        reply = await self.call("TIME")
        return self.clock.note(sent, int(reply[0]) + int(reply[1]) / 1e6)


class DirectServer(Server):
    """One server, or the master that Sentinel names at the moment."""

    def __init__(self, address: Address) -> None:
        super().__init__()
        self._client = _client(address, CALL_TIMEOUT)
        self._blocking = _client(address, BLOCK_TIMEOUT)

    async def call(self, *command: Arg) -> Any:
        """See Server."""
        self.commands += 1
        try:
            return await self._client.execute_command(*command)
        except REDIS_ERRORS as error:
            raise self.failed(error) from error

    async def block(self, key: str, *command: Arg) -> Any:  # noqa: ARG002 - a Cluster needs the key
        """See Server."""
        self.commands += 1
        try:
            return await self._blocking.execute_command(*command)
        except REDIS_ERRORS as error:
            raise self.failed(error) from error

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """See Server."""
        if not commands:
            return []
        self.commands += len(commands)
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        try:
            replies = await pipe.execute(raise_on_error=False)
        except REDIS_ERRORS as error:
            raise self.failed(error) from error
        return [self.failed(r) if isinstance(r, Exception) else r for r in replies]

    async def eval(self, script: Script, keys: Sequence[str], args: Iterable[Arg]) -> Any:
        """See Server."""
        tail = (len(keys), *keys, *args)
        outer = sys.exception()
        self.commands += 1
        try:
            try:
                return await self._client.execute_command("EVALSHA", script.sha, *tail)
            except REDIS_ERRORS as error:
                if not is_missing_script(error):
                    raise
                untie(error, outer)
            self.commands += 1
            return await self._client.execute_command("EVAL", script.source, *tail)
        except REDIS_ERRORS as error:
            untie(error, outer)  # of all calls, scripts are given megabytes
            raise self.failed(error) from error

    async def eval_replicated(
        self, script: Script, keys: Sequence[str], args: Iterable[Arg], replicas: int, wait_ms: int
    ) -> tuple[Any, int]:
        """See Server."""
        tail = (len(keys), *keys, *args)
        for name, text in (("EVALSHA", script.sha), ("EVAL", script.source)):
            self.commands += 2
            pipe = self._client.pipeline(transaction=False)
            pipe.execute_command(name, text, *tail)
            pipe.execute_command("WAIT", replicas, wait_ms)
            try:
                reply, reached = await pipe.execute(raise_on_error=False)
            except REDIS_ERRORS as error:
                raise self.failed(error) from error
            if not is_missing_script(reply):
                break
        return self._both(reply, reached)

    async def scan(self, match: str) -> list[bytes]:
        """See Server."""
        found: list[bytes] = []
        cursor: Arg = 0
        while True:
            cursor, keys = await self.call("SCAN", cursor, "MATCH", match, "COUNT", 1000)
            found += keys
            if int(cursor) == 0:
                return found

    async def aclose(self) -> None:
        """See Server."""
        for client in (self._client, self._blocking):
            await client.aclose()
            manager = getattr(client.connection_pool, "sentinel_manager", None)
            for sentinel in manager.sentinels if manager else ():
                await sentinel.aclose()


def _client(address: Address, timeout: float) -> Any:  # the client's own methods are half annotated
    options = client_options(address, timeout)
    options["db"] = address.db
    client: Any
    if address.kind == "sentinel":
        # The sentinels themselves are asked without our password: it is the master's.
        asked = {
            name: options[name] for name in ("protocol", "retry", "driver_info", "socket_connect_timeout")
        }
        asked["socket_timeout"] = CALL_TIMEOUT
        if address.tls:
            asked |= tls_options(address)
        sentinels: Any = Sentinel
        sentinel = sentinels(address.hosts, sentinel_kwargs=asked)
        client = sentinel.master_for(address.master, **options)
    elif address.kind == "unix":
        options.pop("socket_keepalive")
        client = Redis(unix_socket_path=address.path, **options)
    else:
        host, port = address.hosts[0]
        client = Redis(host=host, port=port, **options)
    client.response_callbacks.clear()
    pool = client.connection_pool
    pool.connection_class = type("PackingConnection", (_Packing, pool.connection_class), {})
    return client


class _Packing:
    """A connection that writes a command by one call of hiredis.

    The client does so in Python, for each argument apart: of the settlement of 500 jobs the most expensive part. The
    client of a Cluster makes its connections by itself, and keeps its way.
    """

    def pack_command(self, *args: Arg) -> list[bytes]:
        name = args[0]
        if isinstance(name, str) and " " in name:  # as the client's own `CONFIG GET`
            args = (*name.split(), *args[1:])
        return [hiredis.pack_command(args)]  # type: ignore[arg-type]  # its stub knows only tuples of one
