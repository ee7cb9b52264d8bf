"""Whose turn it is: streams by weight, projects by fairness.

Both use start-time fair queueing, a deficit round robin without a quantum: everyone has a tag, the amount
served so far divided by its weight; the smallest tag goes next. What is charged is messages, not reads, so a lane
of multicast jobs gets no more than its share. Who has nothing to do is simply not asked for, and gives its share
away; on coming back it starts from the present, with neither debt nor savings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from dispatcher.model import Stream

K = TypeVar("K", bound=str)

WEIGHTS: Mapping[Stream, float] = MappingProxyType({"high": 8, "due": 4, "normal": 3, "bulk": 1})
"""Shares of a project's streams while all of them have work, in the order in which ties are broken. `due` (retries
and scheduled jobs) outranks new work of the normal lane: those messages have waited already."""

PROJECT_BATCHES = 2
"""Batches a project may always hold, however many projects are active: one on the wire, one being packed."""


class _Turns(Generic[K]):
    """The tags, and the present: the tag of whoever was picked last."""

    def __init__(self) -> None:
        self._tags: dict[K, float] = {}
        self._present = 0.0

    def pick(self, waiting: Collection[K]) -> K | None:
        """Whose turn it is among these; ties go to the first named. Not charged: an empty read costs nothing."""
        tags = self._tags
        present = self._present
        best: K | None = None
        least = 0.0
        for key in waiting:
            tag = tags.get(key, present)
            if tag < present:
                # It had nothing to do for a while: what it did not use is gone.
                tag = tags[key] = present
            if best is None or tag < least:
                best, least = key, tag
        if best is not None:
            self._present = least
        return best

    def charge(self, key: K, cost: float) -> None:
        """Book what was served to one that was picked."""
        self._tags[key] = max(self._tags.get(key, self._present), self._present) + cost

    def forget(self, key: K) -> None:
        """Drop a key that will not be asked for again."""
        self._tags.pop(key, None)


class LaneTurns:
    """Which stream of one project is read next: 8 : 4 : 3 : 1 over those that have work."""

    def __init__(self) -> None:
        self._turns: _Turns[Stream] = _Turns()

    def pick(self, waiting: Collection[Stream]) -> Stream | None:
        """The stream to read next.

        Args:
            waiting: the streams that may have something; leave one out while it is known to be empty.
        """
        return self._turns.pick([stream for stream in WEIGHTS if stream in waiting])

    def charge(self, stream: Stream, messages: int) -> None:
        """Book the messages that a read brought."""
        self._turns.charge(stream, messages / WEIGHTS[stream])


class FairShare:
    """Which project is served next, and how much of the worker each may hold.

    Attributes:
        max_in_flight: messages the worker may hold.
        batch_size: messages in a full batch.
    """

    def __init__(self, max_in_flight: int, batch_size: int) -> None:
        self.max_in_flight = max_in_flight
        self.batch_size = batch_size
        self._turns: _Turns[str] = _Turns()

    def share(self, active: int) -> int:
        """Messages that one project may hold while this many have work or messages in flight.

        Paused projects and those without work do not count: their room goes to the others.
        """
        return max(PROJECT_BATCHES * self.batch_size, self.max_in_flight // max(1, active))

    def pick(self, ready: Collection[str]) -> str | None:
        """The project to read next, of those that have work and room."""
        return self._turns.pick(ready)

    def charge(self, project: str, messages: int) -> None:
        """Book the messages that a read of the project brought."""
        self._turns.charge(project, messages)

    def forget(self, project: str) -> None:
        """Drop a project that is no longer served."""
        self._turns.forget(project)
