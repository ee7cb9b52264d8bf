"""How much the worker may hold: messages and bytes between the read and the settled outcome.

Memory is bounded by these counters and by nothing else: what has no room stays in Redis. A tenth of the whole, and
of every project's share of it, is kept for the high lane, so that a backlog of bulk jobs does not stand between
an urgent job and the wire.
"""

from __future__ import annotations

from typing import NamedTuple

from dispatcher.model import Stream

HIGH_TENTH = 10
"""One part in so many is kept for the high lane."""

FIRST_READ = 16
"""Entries of a first read, when nothing is known of their size."""

SIZES_KEPT = 8
"""Reads after which the largest entry seen is forgotten, if no later one was as large."""


class Free(NamedTuple):
    """Room left for one stream of one project: messages, and bytes of entries."""

    messages: int
    nbytes: int


class Room:
    """Counters of what is in flight.

    Attributes:
        max_messages: most messages held.
        max_bytes: most bytes of entries held.
        messages: messages held now.
        nbytes: bytes held now.
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.messages = 0
        self.nbytes = 0
        self._held: dict[str, int] = {}

    def free(self, project: str, stream: Stream, share: int) -> Free:
        """Room for a read.

        Args:
            project: whose stream it is.
            stream: only `high` may use the last tenth.
            share: messages this project may hold (`FairShare.share`).

        Returns:
            Room in messages and bytes, 0 and 0 if there is none of either.
        """
        share = min(share, self.max_messages)
        whole, of_share, of_bytes = self.max_messages, share, self.max_bytes
        if stream != "high":
            whole -= -(-whole // HIGH_TENTH) if whole > 1 else 0
            of_share -= -(-of_share // HIGH_TENTH) if of_share > 1 else 0
            of_bytes -= of_bytes // HIGH_TENTH
        messages = min(whole - self.messages, of_share - self.held(project))
        nbytes = of_bytes - self.nbytes
        return Free(messages, nbytes) if messages > 0 and nbytes > 0 else Free(0, 0)

    def take(self, project: str, messages: int, nbytes: int) -> None:
        """Book what a read brought. It may exceed what was free: sizes are known only after the read."""
        self.messages += messages
        self.nbytes += nbytes
        self._held[project] = self._held.get(project, 0) + messages

    def give(self, project: str, messages: int, nbytes: int) -> None:
        """Book what was settled, moved or handed back."""
        self.messages -= messages
        self.nbytes -= nbytes
        left = self._held.get(project, 0) - messages
        if left > 0:
            self._held[project] = left
        else:
            self._held.pop(project, None)

    def held(self, project: str) -> int:
        """Messages of the project in flight."""
        return self._held.get(project, 0)

    def holders(self) -> list[str]:
        """Projects with messages in flight."""
        return list(self._held)


class ReadSize:
    """How many entries one read of a stream may ask for, from the largest ones seen lately.

    One instance for each stream of each project: bulk multicasts say nothing about the high lane.
    """

    def __init__(self) -> None:
        self._reads = 0
        # Of the last few reads and of those before: a maximum that forgets, at the cost of two numbers each.
        self._messages = (0, 0)
        self._nbytes = (0, 0)

    def saw(self, largest_messages: int, largest_nbytes: int) -> None:
        """Learn from a read that was not empty: the most messages and bytes of one of its entries."""
        if self._reads % SIZES_KEPT == 0:
            self._messages = (0, self._messages[0])
            self._nbytes = (0, self._nbytes[0])
        self._reads += 1
        self._messages = (max(self._messages[0], largest_messages), self._messages[1])
        self._nbytes = (max(self._nbytes[0], largest_nbytes), self._nbytes[1])

    def count(self, free: Free, *, idle: bool, most: int) -> int:
        """Entries to ask for.

        Args:
            free: the room there is.
            idle: nothing of this project is in flight. Then one entry is read although it may not fit: an entry
                larger than the whole room must still get through.
            most: upper limit whatever the room.

        Returns:
            0 if there is no room for one more entry of the largest size seen.
        """
        if free.messages <= 0 or free.nbytes <= 0:
            return 0
        if self._reads == 0:
            return min(FIRST_READ, free.messages, most)
        fit = min(free.messages // max(1, *self._messages), free.nbytes // max(1, *self._nbytes), most)
        return max(fit, 1) if idle else fit
