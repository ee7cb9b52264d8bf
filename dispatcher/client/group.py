"""Reading every outcome, over restarts and by several processes together: a consumer group of your own.

Example:
    async with OutcomeGroupReader.at(REDIS_URL, PROJECT, "token-cleanup") as reader:
        for record in await reader.read():
            dead = [o.target["token"] for o in record.outcomes if o.status == "invalid_token"]
            print("to delete:", dead)
            await reader.ack(record)

or, for ever, `async for outcome in reader`: an entry is acknowledged when all of its outcomes have been dealt with, that
is when the loop asks for the next one. What was not acknowledged comes again: to the member of the same name at once, to
any other after `claim_after_s`. So nothing is missed, and after a crash something may be seen twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from time import monotonic
from types import TracebackType
from typing import Self, Unpack
from uuid import uuid4

from dispatcher.client.cancellation import raise_if_cancelled
from dispatcher.client.connected import Connected
from dispatcher.client.outcomes import OutcomeRecord, decoded
from dispatcher.errors import ProtocolError
from dispatcher.model import Outcome
from dispatcher.queue.address import Login
from dispatcher.queue.reading import Entry
from dispatcher.queue.store import Queue

_BLOCK_S = 5.0
"""How long one read waits at the server."""


class OutcomeGroupReader(Connected):
    """One member of a group that shares the outcomes of a project.

    Args:
        queue: a view of Redis, whose `consumer` is the member's name; closed by `aclose`.
        project: Firebase project id.
        group: the group's name: one for each purpose. A group that nobody reads holds up the removal of outcomes; delete
            it with `XGROUP DESTROY` when it is no longer wanted.
        from_start: a new group begins with all outcomes that are kept; otherwise with those that are written from now on.
        claim_after_s: an entry that its member has not acknowledged for so long is another's; more than you need for one.
    """

    def __init__(
        self,
        queue: Queue,
        project: str,
        group: str,
        *,
        from_start: bool = True,
        claim_after_s: float = 60.0,
    ) -> None:
        self._queue = queue
        self._project = project
        self._group = group
        self._start = "0" if from_start else "$"
        self._claim_after = claim_after_s
        self._joined = False
        self._resume = "0-0"  # behind which own entries of an earlier life may wait; "": none
        self._next_claim = 0.0
        self._held: set[str] = set()
        self._taken: deque[Entry] = deque()

    @classmethod
    def at(
        cls,
        redis_url: str,
        project: str,
        group: str,
        *,
        member: str = "",
        from_start: bool = True,
        claim_after_s: float = 60.0,
        namespace: str = "fcm",
        **login: Unpack[Login],
    ) -> Self:
        """A member with a connection of its own, which is made with the first read (see `Producer.at`).

        Args:
            redis_url: see `Producer.at`.
            project: see the class.
            group: see the class.
            member: a name that no other living member has, and that this one has again after a restart, as the name of
                its pod; default: a new one each time.
            from_start: see the class.
            claim_after_s: see the class.
            namespace: see `Producer.at`.
            login: see `Producer.at`.
        """
        consumer = member or f"reader-{uuid4().hex[:12]}"
        queue = Queue.at(redis_url, consumer=consumer, namespace=namespace, **login)
        return cls(queue, project, group, from_start=from_start, claim_after_s=claim_after_s)

    async def aclose(self) -> None:
        """Leave the group, if all that was read is acknowledged, and close the connection."""
        try:
            if self._joined and not self._held:
                await self._queue.resign(self._project, self._group)
        finally:
            await super().aclose()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.aclose()
        else:
            await super().aclose()

    async def read(self, count: int = 100, wait_s: float = 0.0) -> list[OutcomeRecord]:
        """The next entries for this member; empty if there are none. Acknowledge each with `ack`.

        Args:
            count: at most so many entries (one may hold hundreds of outcomes).
            wait_s: how long to wait for the first one.

        Raises:
            QueueError: Redis does not answer.
            ProtocolError: an entry is no list of outcomes; it is acknowledged, and reading again goes on after it.
        """
        if not self._taken:
            self._taken.extend(await self._take(count, wait_s))
        records: list[OutcomeRecord] = []
        while self._taken:
            entry_id, fields = self._taken[0]
            try:
                record = decoded(entry_id, fields)
            except ProtocolError:
                if records:
                    break  # these first; the next call comes back to it
                self._taken.popleft()
                await self._queue.acknowledge(self._project, self._group, [entry_id])
                if not fields:
                    continue  # trimmed before it was dealt with: there is nothing left to tell
                raise
            self._taken.popleft()
            self._held.add(entry_id)
            records.append(record)
        return records

    async def ack(self, *records: OutcomeRecord) -> None:
        """These are dealt with: they will not come again, to nobody of the group."""
        ids = [record.entry_id for record in records]
        await self._queue.acknowledge(self._project, self._group, ids)
        self._held.difference_update(ids)

    async def records(self) -> AsyncIterator[OutcomeRecord]:
        """Every entry, waiting for new ones without end; each is acknowledged when the next is asked for."""
        while True:
            raise_if_cancelled()
            for record in await self.read(wait_s=_BLOCK_S):
                yield record
                await self.ack(record)

    async def __aiter__(self) -> AsyncIterator[Outcome]:
        """Every outcome, likewise; an entry is acknowledged when all of its outcomes have been dealt with."""
        async for record in self.records():
            for outcome in record.outcomes:
                yield outcome

    async def _take(self, count: int, wait_s: float) -> list[Entry]:
        queue, project, group = self._queue, self._project, self._group
        if not self._joined:
            await queue.join(project, group, self._start)
            self._joined = True
        while self._resume:
            own = await queue.read_as_member(project, group, count, after=self._resume)
            self._resume = own[-1][0] if own else ""
            if own:
                return own
        now = monotonic()
        if now >= self._next_claim:
            idle = await queue.idle_entries(project, group, self._claim_after, count + len(self._held))
            others = [entry_id for entry_id in idle if entry_id not in self._held][:count]
            if others:
                claimed = await queue.take_over(project, group, others, self._claim_after)
                if claimed:
                    return claimed
            self._next_claim = now + self._claim_after / 2
        wait_s = min(wait_s, _BLOCK_S, max(0.001, self._next_claim - now))
        block_ms = max(1, int(wait_s * 1000)) if wait_s > 0 else 0
        return await queue.read_as_member(project, group, count, block_ms=block_ms)
