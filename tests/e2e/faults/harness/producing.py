"""The producer's side of a stage: what it enqueues, and its log of that, which the ledger begins with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import redis.exceptions
from harness.jobs import PROJECT, Asked, Message, deeds_of, job, messages_of
from harness.processes import RedisServer

from dispatcher.queue.keys import Keys


class Producing:
    """Enqueues, and writes down what it enqueued.

    Attributes:
        keys, redis: where.
        asked: the log.
    """

    keys: Keys
    redis: RedisServer
    asked: dict[Message, Asked]
    _numbers: Iterator[int]

    def new_name(self) -> str:
        """For a job that has to be known before it is enqueued."""
        return f"m{next(self._numbers)}"

    async def produce(
        self,
        count: int,
        *,
        project: str = PROJECT,
        lane: str = "normal",
        may: Iterable[str] = ("accepted",),
        tokens: int = 0,
        target: str = "",
        size: int = 0,
        client: Any = None,
        names: Sequence[str] = (),
        **fields: str,
    ) -> list[str]:
        """Enqueue jobs and write them into the producer's log; returns their ids (and the messages' own).

        Args:
            count: how many jobs.
            project, lane: where.
            may: the statuses that are right for these.
            tokens: 0: one token a job, a new one each; N: jobs for N tokens.
            target: one token for all of them instead.
            size: bytes of filling in each message.
            client: another way to Redis than the direct one.
            names: their ids, of `new_name`; or new ones.
            fields: further fields of each entry.

        Raises:
            redis.exceptions.RedisError: some were refused, or nobody knows; the log holds what it must.
        """
        key = self.keys.stream(project, lane)  # type: ignore[arg-type]
        names = [*names] or [self.new_name() for _ in range(count)]
        for start in range(0, count, 500):
            chunk = names[start : start + 500]
            async with (client or self.redis.client).pipeline(transaction=False) as pipe:
                for name in chunk:
                    pipe.xadd(key, job(name, tokens, target, size) | fields)
                try:
                    replies = await pipe.execute(raise_on_error=False)
                except (OSError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                    for name in chunk:
                        self.expect(job(name, tokens, target), may, project=project, unsure=True)
                    raise
            for name, reply in zip(chunk, replies, strict=True):
                if not isinstance(reply, Exception):
                    self.expect(job(name, tokens, target), may, project=project)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return names

    async def enqueue(self, fields: dict[str, str], may: Iterable[str] = ("accepted",)) -> str:
        """Enqueue one job of any kind and write it into the producer's log; returns its id."""
        await self.redis.client.xadd(self.keys.stream(PROJECT, "normal"), fields)  # type: ignore[arg-type]
        self.expect(fields, may)
        return fields["id"]

    def expect(
        self,
        fields: dict[str, str],
        may: Iterable[str] = ("accepted",),
        *,
        entries: int = 1,
        project: str = PROJECT,
        unsure: bool = False,
    ) -> None:
        """Write a job into the producer's log that was enqueued, `entries` times."""
        deeds = deeds_of(fields)
        for message in messages_of(fields):
            self.asked[message] = Asked(project, frozenset(may), entries, unsure, deeds.get(message))

    def expect_message(self, name: str, target: str, may: Iterable[str] = ("accepted",)) -> None:
        """Write one message into the producer's log, by its id and its target."""
        self.asked[name, target] = Asked(PROJECT, frozenset(may))
