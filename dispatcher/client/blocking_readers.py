"""Reading what became of messages without asyncio.

Example:
    with SyncOutcomeGroupReader.at(REDIS_URL, PROJECT, "token-cleanup") as reader:
        for record in reader.read():
            dead = [o.target["token"] for o in record.outcomes if o.status == "invalid_token"]
            print("to delete:", dead)
            reader.ack(record)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from dispatcher.client.blocking import Blocking
from dispatcher.client.group import OutcomeGroupReader
from dispatcher.client.outcomes import OutcomeReader, OutcomeRecord
from dispatcher.model import Outcome

_BLOCK_S = 5.0
"""How long one read waits at the server."""


class SyncOutcomeReader(Blocking[OutcomeReader]):
    """`OutcomeReader` for callers without asyncio; see there for methods, arguments and errors.

    Example:
        with SyncOutcomeReader.at(REDIS_URL, PROJECT) as reader:
            for record in reader.read():
                for outcome in record.outcomes:
                    print(outcome.job, outcome.status, outcome.target)
            print("go on after", reader.position)

    Attributes:
        position: id of the last entry read; keep it to go on there later.
    """

    position: str = "0-0"

    @classmethod
    def at(
        cls,
        redis_url: str,
        project: str,
        *,
        after: str = "0-0",
        namespace: str = "fcm",
        password_file: Path | None = None,
    ) -> Self:
        """See `OutcomeReader.at`."""
        made = cls(
            lambda: OutcomeReader.at(
                redis_url, project, after=made.position, namespace=namespace, password_file=password_file
            )
        )
        made.position = after
        return made

    def skip_to_end(self) -> None:
        """Go on with what is written from now on."""
        running = self._ready()
        running.run(running.client.skip_to_end())
        self.position = running.client.position

    def read(self, count: int = 100, wait_s: float = 0.0) -> list[OutcomeRecord]:
        """The next entries, oldest first; see `OutcomeReader.read`."""
        running = self._ready()
        try:
            return running.run(running.client.read(count, wait_s))
        finally:
            self.position = running.client.position

    def __iter__(self) -> Iterator[Outcome]:
        """Every outcome from the position on, waiting for new ones without end."""
        while True:
            for record in self.read(wait_s=_BLOCK_S):
                yield from record.outcomes


class SyncOutcomeGroupReader(Blocking[OutcomeGroupReader]):
    """`OutcomeGroupReader` for callers without asyncio; see there for methods, arguments and errors.

    A member of a group is one process: after a fork, make a new one.
    """

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
        password_file: Path | None = None,
    ) -> Self:
        """See `OutcomeGroupReader.at`."""
        return cls(
            lambda: OutcomeGroupReader.at(
                redis_url,
                project,
                group,
                member=member,
                from_start=from_start,
                claim_after_s=claim_after_s,
                namespace=namespace,
                password_file=password_file,
            )
        )

    def read(self, count: int = 100, wait_s: float = 0.0) -> list[OutcomeRecord]:
        """The next entries for this member; see `OutcomeGroupReader.read`."""
        running = self._ready()
        return running.run(running.client.read(count, wait_s))

    def ack(self, *records: OutcomeRecord) -> None:
        """These are dealt with: they will not come again, to nobody of the group."""
        running = self._ready()
        running.run(running.client.ack(*records))

    def records(self) -> Iterator[OutcomeRecord]:
        """Every entry, waiting for new ones without end; each is acknowledged when the next is asked for."""
        while True:
            for record in self.read(wait_s=_BLOCK_S):
                yield record
                self.ack(record)

    def __iter__(self) -> Iterator[Outcome]:
        """Every outcome, likewise; an entry is acknowledged when all of its outcomes have been dealt with."""
        for record in self.records():
            yield from record.outcomes
