"""What waits, and where."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.model import Stream
from dispatcher.queue.access import Access


class ProjectStats(msgspec.Struct):
    """What waits in one project.

    Attributes:
        lanes: entries per stream, in flight included (settled ones are deleted).
        oldest: age in seconds of the oldest entry per stream; only streams that have one.
        delayed: jobs that wait for their time.
        delayed_due: of these, those whose time has come.
        next_due: when the first of them is due (Redis clock, seconds); None: none waits.
        dead: dead letters.
        outcomes: entries in the outcome stream.
        paused_targets: members of the set of pauses.
        backlog: lanes + due + delayed already due: the number to scale on.
    """

    lanes: dict[Stream, int]
    oldest: dict[Stream, float]
    delayed: int
    delayed_due: int
    next_due: float | None
    dead: int
    outcomes: int
    paused_targets: int

    @property
    def backlog(self) -> int:
        """Jobs that could be worked on now."""
        return sum(self.lanes.values()) + self.delayed_due


class Stats(Access):
    """Counting."""

    async def stats(self, projects: Sequence[str]) -> dict[str, ProjectStats]:
        """Count what waits in each of these projects, in one round trip."""
        raise NotImplementedError

    async def unserved(self, projects: Sequence[str]) -> dict[tuple[str, str], int]:
        """Jobs in streams that nobody serves: {(project, lane name): entries}, by a SCAN of the namespace.

        A project that is not among `projects`, or a lane that does not exist.
        """
        raise NotImplementedError
