"""Names of keys (README: keys).

The project id stands in braces: it is the Cluster hash tag, so that all of a project lives in one slot and
every state change can be one script.
"""

from __future__ import annotations

from typing import Literal

from dispatcher.model import Stream

GROUP = "dispatcher"
"""The consumer group of every work stream."""

RELEASED = "released"
"""The consumer that unsent entries are handed to on shutdown; it never has a lease, so anyone may take them."""


Which = Literal["outcomes", "dead", "upstream"]
"""The record streams: they tell what happened, and a retention keeps them bounded."""


class Keys:
    """The keys of one namespace."""

    __slots__ = ("namespace",)

    def __init__(self, namespace: str = "fcm") -> None:
        self.namespace = namespace

    def prefix(self, project: str) -> str:
        """What every key of a project begins with, colon included."""
        return f"{self.namespace}:{{{project}}}:"

    def stream(self, project: str, stream: Stream) -> str:
        """The work stream of a lane, or of jobs whose time has come."""
        return f"{self.namespace}:{{{project}}}:jobs:{stream}"

    def delayed(self, project: str) -> str:
        """Sorted set of jobs that wait: score = due, in ms."""
        return f"{self.namespace}:{{{project}}}:delayed"

    def delayed_jobs(self, project: str) -> str:
        """Hash with the fields of the jobs that wait."""
        return f"{self.namespace}:{{{project}}}:delayed:jobs"

    def outcomes(self, project: str) -> str:
        """Stream of what became of each message."""
        return f"{self.namespace}:{{{project}}}:outcomes"

    def dead(self, project: str) -> str:
        """Stream of dead letters."""
        return f"{self.namespace}:{{{project}}}:dead"

    def upstream(self, project: str) -> str:
        """Stream of what devices sent, and of delivery receipts."""
        return f"{self.namespace}:{{{project}}}:upstream"

    def upstream_seen(self, project: str) -> str:
        """Sorted set of what stands in that stream, hashed: score = when it came, in ms."""
        return f"{self.namespace}:{{{project}}}:upstream:seen"

    def record(self, project: str, which: Which) -> str:
        """A record stream."""
        return f"{self.namespace}:{{{project}}}:{which}"

    def control(self, project: str) -> str:
        """Hash of pauses, cancellations and shared verdicts."""
        return f"{self.namespace}:{{{project}}}:control"

    def pauses(self, project: str) -> str:
        """Sorted set of paused targets: score = next free time, in ms."""
        return f"{self.namespace}:{{{project}}}:pauses"

    def quota(self, project: str) -> str:
        """The shared bucket's state."""
        return f"{self.namespace}:{{{project}}}:quota"

    def quota_management(self, project: str) -> str:
        """The same for management jobs, which have a rate of their own."""
        return f"{self.namespace}:{{{project}}}:quota:management"

    def dedup(self, project: str, key: str) -> str:
        """Who was first with this deduplication key."""
        return f"{self.namespace}:{{{project}}}:dedup:{key}"

    def lease(self, project: str, consumer: str) -> str:
        """The sign of life of a worker; its value is the epoch."""
        return f"{self.namespace}:{{{project}}}:lease:{consumer}"

    def campaign(self, project: str, campaign: str) -> str:
        """Counters of a campaign."""
        return f"{self.namespace}:{{{project}}}:campaign:{campaign}"

    def parse_stream(self, key: str) -> tuple[str, str] | None:
        """(project, lane name) of a key that looks like a work stream, whether or not such a lane exists."""
        head = f"{self.namespace}:{{"
        project, sep, lane = key.removeprefix(head).partition("}:jobs:")
        return (project, lane) if key.startswith(head) and sep else None


def entry_time(entry_id: str) -> float:
    """Unix seconds at which Redis gave this entry id."""
    return int(entry_id.partition("-")[0]) / 1000


def sortable(entry_id: str) -> str:
    """The id padded so that it sorts as text as it does as a number (`1000-9` before `1000-10`)."""
    ms, _, seq = entry_id.partition("-")
    return f"{int(ms):015d}-{int(seq or 0):08d}"


def next_id(entry_id: str) -> str:
    """The smallest id greater than this one."""
    ms, _, seq = entry_id.partition("-")
    if int(seq) < 2**64 - 1:
        return f"{ms}-{int(seq) + 1}"
    return f"{int(ms) + 1}-0"
