"""Before the send: counting what was read, verdicts on jobs that are not sent, and obeying operators.

Plain functions, no awaiting.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from dispatcher.model import Action, Batch, Disposition, Job, Status, Stream
from dispatcher.pipeline.project import Project
from dispatcher.policy.orders import Orders

DOOMED = Disposition(
    Action.EXPIRE,
    status=Status.EXPIRED,
    reason="it would expire before deliver_at: give a later expires_at (default: DISPATCHER_DEFAULT_EXPIRY_S after enqueueing)",
)
EARLY = Disposition(Action.RETRY, counted=False)
"""Not to be sent yet: it waits until its `deliver_at`."""
EXPIRED = Disposition(Action.EXPIRE, status=Status.EXPIRED, reason="its time ran out before it was sent")


LATE = Disposition(
    Action.EXPIRE, status=Status.EXPIRED, reason="its time ran out before it was sent", counted=False
)
"""Its time ran out here, between being read and being sent."""


class Tally(NamedTuple):
    """What a read brought.

    Attributes:
        messages: of all jobs; a refused one counts as one.
        most_messages: of one job.
        nbytes: `Job.nbytes` of all jobs.
        most_bytes: of one job.
        unknown_fields: of all jobs.
        warned: the jobs with warnings.
    """

    messages: int
    most_messages: int
    nbytes: int
    most_bytes: int
    unknown_fields: int
    warned: list[Job]


def tally(jobs: list[Job]) -> Tally:
    """Count what was read; `jobs` is not empty."""
    # An everyday job is one message, has no unknown field and no warning: only the others are looked into.
    unusual = [job for job in jobs if job.entry is not None or job.warnings]
    counts = [len(job.values) or 1 for job in unusual]
    sizes = [job.nbytes for job in jobs]
    return Tally(
        len(jobs) - len(unusual) + sum(counts),
        max(counts, default=1),
        sum(sizes),
        max(sizes),
        sum([job.unknown_fields for job in unusual]),
        [job for job in unusual if job.warnings],
    )


def hindered(batch: Batch, orders: Orders | None, now: float) -> dict[int, Disposition]:
    """The messages of a batch that must not go now, by number: expired, or stopped by an operator.

    Args:
        batch: about to be sent.
        orders: in force now.
        now: Redis clock.
    """
    presets: dict[int, Disposition] = {}
    if any([job.expires_at <= now for job in batch.jobs]):  # noqa: C419 - a generator takes three times as long
        for number, (job, _) in enumerate(batch.messages()):
            if job.expires_at <= now:
                presets[number] = LATE
    if orders is not None and orders.targets:
        for number, (job, position) in enumerate(batch.messages()):
            stop = orders.of_target(job.target(position).key)
            if stop is not None:
                presets.setdefault(number, stop)
    return presets


def duplicate_of(origin: str) -> Disposition:
    """What becomes of a job whose `dedup_key` belongs to this origin (`lane:entry id`)."""
    return Disposition(
        Action.OK,
        status=Status.DUPLICATE,
        reason="a job with the same dedup_key came first",
        duplicate_of=origin.partition(":")[2],
    )


def sort_out(batch: Batch, orders: Orders) -> tuple[Batch | None, list[tuple[Disposition, Batch]]]:
    """Look each job up.

    Args:
        batch: jobs that have not been sent.
        orders: in force now.

    Returns:
        The batch of those that go on (None: none does), and those that end or wait, alike ones together. A job that
        cannot be read goes on: its refusal is of more use to its producer.
    """
    kept: list[Job] = []
    ended: dict[tuple[str, str], tuple[Disposition, list[Job]]] = {}
    for job in batch.jobs:
        verdict = orders.of(job) if job.refusal is None else None
        if verdict is None:
            kept.append(job)
        else:
            ended.setdefault((verdict.parked, verdict.reason), (verdict, []))[1].append(job)
    if not ended:
        return batch, []
    parts = [(verdict, part_of(batch, jobs)) for verdict, jobs in ended.values()]
    return (part_of(batch, kept) if kept else None), parts


def part_of(batch: Batch, jobs: list[Job]) -> Batch:
    """The batch of only these of its jobs."""
    return msgspec.structs.replace(
        batch,
        jobs=jobs,
        size=sum(len(job.values) or 1 for job in jobs),
        nbytes=sum(job.nbytes for job in jobs),
    )


def unsent_batch(project: Project, stream: Stream, jobs: list[Job], epoch: int) -> Batch:
    """Jobs that go to settling without a send, as a batch."""
    return part_of(Batch(project.id, stream, [], size=0, nbytes=0, epoch=epoch), jobs)
