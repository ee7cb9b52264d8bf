"""What waits, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dispatcher.errors import QueueError, QueueMisconfigured
from dispatcher.model import STREAMS, Stream
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Command
from dispatcher.queue.keys import GROUP, entry_time


class ProjectStats(msgspec.Struct):
    """What waits in one project.

    Attributes:
        lanes: entries per stream, in flight included (settled ones are deleted).
        oldest: age in seconds of the oldest entry per stream; only streams that have one.
        delayed: jobs that wait for their time.
        delayed_due: of these, those whose time has come.
        next_due: when the first of them is due (Redis clock, seconds); None: none waits.
        dead: dead letters.
        pending: entries that a worker has read and not settled.
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
    pending: int = 0

    @property
    def backlog(self) -> int:
        """Jobs that could be worked on now."""
        return sum(self.lanes.values()) + self.delayed_due


class Stats(Access):
    """Counting."""

    async def stats(self, projects: Sequence[str], *, partial: bool = False) -> dict[str, ProjectStats]:
        """Count what waits in each of these projects, in one round trip.

        Args:
            projects: Firebase project ids.
            partial: leave those out whose server (of a Cluster) did not answer, unless it is all of them.
        """
        now = self.server.clock.now() if self.server.clock.known else await self.server.time()
        asked = [self._questions(project, now) for project in projects]
        answers = iter(await self.server.pipeline([command for commands in asked for command in commands]))
        found = {}
        failure: QueueError | None = None
        for project, commands in zip(projects, asked, strict=True):
            replies = [next(answers) for _ in commands]
            # Nobody has read of a stream yet that has no group.
            replies = [[0] if isinstance(r, QueueError) and "NOGROUP" in str(r) else r for r in replies]
            errors = [reply for reply in replies if isinstance(reply, QueueError)]
            if errors:
                failure = errors[0]
            else:
                found[project] = _stats(replies, now)
        if failure is not None and not (partial and found):
            raise failure
        return found

    def _questions(self, project: str, now: float) -> list[Command]:
        keys = self.keys
        streams = [keys.stream(project, stream) for stream in STREAMS]
        return [
            *(("XLEN", stream) for stream in streams),
            *(("XRANGE", stream, "-", "+", "COUNT", 1) for stream in streams),
            *(("XPENDING", stream, GROUP) for stream in streams),
            ("ZCARD", keys.delayed(project)),
            ("ZCOUNT", keys.delayed(project), "-inf", int(now * 1000)),
            ("ZRANGE", keys.delayed(project), 0, 0, "WITHSCORES"),
            ("XLEN", keys.dead(project)),
            ("XLEN", keys.outcomes(project)),
            ("ZCARD", keys.pauses(project)),
        ]

    async def unserved(self, projects: Sequence[str]) -> dict[tuple[str, str], int]:
        """Jobs in streams that nobody serves: {(project, lane name): entries}, by a SCAN of the namespace.

        A project that is not among `projects`, or a lane that does not exist.
        """
        served = set(projects)
        strangers: dict[tuple[str, str], str] = {}
        for raw in await self.server.scan(f"{self.keys.namespace}:{{*}}:jobs:*"):
            key = raw.decode(errors="replace")
            parsed = self.keys.parse_stream(key)
            if parsed and (parsed[0] not in served or parsed[1] not in STREAMS):
                strangers[parsed] = key
        lengths = await self.server.pipeline([("XLEN", key) for key in strangers.values()])
        counts = {}
        for name, length in zip(strangers, lengths, strict=True):
            if isinstance(length, QueueMisconfigured):
                continue  # something else under a name that looks like ours
            if isinstance(length, QueueError):
                raise length
            if length:
                counts[name] = length
        return counts


def _stats(replies: list[Any], now: float) -> ProjectStats:
    lengths, firsts, pending, rest = replies[:4], replies[4:8], replies[8:12], replies[12:]
    delayed, due, first_due, dead, outcomes, paused = rest
    oldest: dict[Stream, float] = {
        stream: max(0.0, now - entry_time(first[0][0].decode()))
        for stream, first in zip(STREAMS, firsts, strict=True)
        if first
    }
    return ProjectStats(
        lanes=dict(zip(STREAMS, lengths, strict=True)),
        oldest=oldest,
        delayed=delayed,
        delayed_due=due,
        next_due=float(first_due[1]) / 1000 if first_due else None,
        dead=dead,
        outcomes=outcomes,
        paused_targets=paused,
        pending=sum(summary[0] for summary in pending),
    )
