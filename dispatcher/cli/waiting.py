"""Jobs that wait, found by commands: read as a worker reads them, and counted."""

from __future__ import annotations

from dispatcher.cli.amount import amount, amounts
from dispatcher.model import LANES, Job, Lane
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.queue.orders import CancelKind
from dispatcher.queue.search import Waiting
from dispatcher.queue.store import Queue

_LIMITS = DecodeLimits(strict=False)


def as_job(project: str, found: Waiting) -> Job:
    """What was found, read as a worker reads it."""
    return decode_entry(project, found.stream or "due", found.entry_id, found.fields, _LIMITS)


async def by_lane(queue: Queue, project: str, lane: Lane | None) -> dict[str, int]:
    """How many jobs wait in a lane, or in the whole project: by stream, and `delayed`."""
    stats = (await queue.stats([project]))[project]
    lanes = [lane] if lane else [*LANES, "due"]
    counts = {str(name): count for name, count in stats.lanes.items() if name in lanes and count}
    if not lane and stats.delayed:
        counts["delayed"] = stats.delayed
    return counts


def told(waiting: dict[str, int]) -> str:
    """The same for people, to stand behind what was done; "": none waits."""
    if not waiting:
        return ""
    return f"; jobs that wait there: {amounts(waiting)}"


async def met_by(queue: Queue, project: str, kind: CancelKind, name: str) -> tuple[int, int]:
    """(jobs, messages) that a cancellation meets now."""
    jobs = messages = 0
    async for found in queue.search(project, b"" if kind == "lane" else name.encode()):
        job = as_job(project, found)
        if (
            (kind == "lane" and job.lane == name)
            or (kind == "campaign" and job.campaign == name)
            or (kind == "id" and name in (job.id, job.origin_id))
        ):
            jobs += 1
            messages += max(1, len(job.values))
    return jobs, messages


def jobs_and_messages(jobs: int, messages: int) -> str:
    """Both numbers for people."""
    return f"{amount(jobs, 'job')} with {amount(messages, 'message')}"
