"""Signs of life: one lease key per worker and project."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

import msgspec

from dispatcher.errors import QueueError
from dispatcher.model import STREAMS
from dispatcher.queue.access import Access
from dispatcher.queue.keys import GROUP
from dispatcher.queue.script import Script

_ACQUIRE = Script("acquire")
_LEAVE = Script("leave")


class Renewal(msgspec.Struct):
    """What became of the leases that were to be prolonged; all others are.

    Attributes:
        lost: projects whose lease was gone: stop sending, acquire a new epoch, reconcile.
        unknown: projects whose server did not answer (one server of a Cluster): not prolonged as far as anybody knows.
    """

    lost: set[str]
    unknown: dict[str, QueueError]


class Leases(Access):
    """Leases of this worker. Callers count the deadline from before the call was sent."""

    async def acquire(self, project: str, epoch: int, lease_s: float) -> float:
        """Take the lease with this epoch (raise it each time), for `lease_s` seconds; works on a full Redis.

        Returns:
            Redis clock, seconds.
        """
        sent = monotonic()
        key = self.keys.lease(project, self.consumer)
        time = await self.server.eval(_ACQUIRE, (key,), (epoch, round(lease_s * 1000)))
        return self.server.clock.note(sent, int(time[0]) + int(time[1]) / 1e6)

    async def renew(self, projects: Sequence[str], lease_s: float) -> Renewal:
        """Prolong the leases of these projects, in one round trip."""
        ms = round(lease_s * 1000)
        replies = await self.server.pipeline(
            [("PEXPIRE", self.keys.lease(project, self.consumer), ms) for project in projects]
        )
        renewal = Renewal(set(), {})
        for project, reply in zip(projects, replies, strict=True):
            if isinstance(reply, QueueError):
                renewal.unknown[project] = reply
            elif not reply:
                renewal.lost.add(project)
        return renewal

    async def leave(self, project: str, epoch: int) -> bool:
        """Drop the lease, and each of this consumer's groups where it has nothing pending.

        Returns:
            Whether nothing was left pending.
        """
        keys = [self.keys.lease(project, self.consumer)]
        keys += [self.keys.stream(project, stream) for stream in STREAMS]
        return bool(await self.server.eval(_LEAVE, keys, (GROUP, self.consumer, epoch)))
