"""What operators have ordered of a project: what stands still until they say otherwise, and what is not to be sent.

A *stop* of the whole project is not here: then nothing is read, and there is nothing to decide. A stop of a lane or a
target parks what belongs to it; a cancellation ends it. Both are looked up for each job, but only while there are any.
"""

from __future__ import annotations

import msgspec

from dispatcher.model import Action, Disposition, Job, Status

EntryId = tuple[int, int]
"""An entry id as numbers, in the order in which Redis gave them."""


class Orders(msgspec.Struct, frozen=True):
    """The orders in force in one project.

    Attributes:
        lanes: lanes that stand still.
        targets: keys (`Target.key`) of targets that stand still.
        cancelled_lanes: of each cancelled lane the last entry id that is cancelled: what came later is sent.
        campaigns: cancelled campaigns, whenever their jobs come.
        ids: cancelled jobs, by the producer's id or the entry id.
    """

    lanes: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    cancelled_lanes: dict[str, EntryId] = {}
    campaigns: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.lanes or self.targets or self.cancelled_lanes or self.campaigns or self.ids)

    def of(self, job: Job) -> Disposition | None:
        """What becomes of a whole job that has not been sent; None: it goes on.

        A job of which only some recipients are stopped goes on: `of_target` holds those back.
        """
        reason = self.cancellation(job)
        if reason:
            return Disposition(Action.OK, status=Status.CANCELLED, reason=reason, counted=False)
        if job.lane in self.lanes:
            return parked(f"lane:{job.lane}")
        if self.targets and job.values:
            keys = {job.target(position).key for position in range(len(job.values))}
            if keys <= self.targets:
                # Recipients of one job stand still each on its own.
                return parked(f"target:{keys.pop()}") if len(keys) == 1 else None
        return None

    def of_target(self, key: str) -> Disposition | None:
        """What becomes of one message to this target; None: it goes on."""
        return parked(f"target:{key}") if key in self.targets else None

    def cancellation(self, job: Job) -> str:
        """Why a job is cancelled, for people; "": it is not."""
        origin = job.origin_id
        if job.id in self.ids or origin in self.ids:
            return "cancelled by its id"
        if job.campaign and job.campaign in self.campaigns:
            return f"cancelled with campaign {job.campaign}"
        last = self.cancelled_lanes.get(job.lane)
        if last is not None and _enqueued(job) <= last:
            return f"cancelled with all that was in lane {job.lane}"
        return ""


def parked(stop: str) -> Disposition:
    """A message that waits until a stop is lifted, or it expires.

    Args:
        stop: `lane:<lane>` or `target:<Target.key>`.
    """
    alone = stop.startswith("target:")
    action = Action.PAUSE_TARGET if alone else Action.PAUSE_PROJECT
    return Disposition(action, counted=False, hold_target=alone, parked=stop)


def _enqueued(job: Job) -> EntryId:
    """When a job came, as an entry id; a replay comes anew, though it keeps the id of its origin."""
    if job.stream != "due":
        return as_numbers(job.entry_id)
    return round(job.enqueued_at * 1000), as_numbers(job.origin_id)[1]


def as_numbers(entry_id: str) -> EntryId:
    """`1000-10` as (1000, 10)."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)
