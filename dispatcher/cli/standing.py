"""What goes on in an installation, gathered from Redis alone: what `dispatcher status` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from dispatcher.cli.paused import PausedByAnswers, with_names
from dispatcher.errors import ProtocolError, SettingsError
from dispatcher.model import STREAMS
from dispatcher.queue.orders import Stop
from dispatcher.queue.overview import WorkerFacts
from dispatcher.queue.store import Queue

WINDOW_S = 60.0
"""Throughput, latency and errors are those of the last minute."""


class ProjectStatus(msgspec.Struct):
    """One project.

    Attributes:
        project: Firebase project id.
        served: a worker has a lease for it.
        backlog: jobs whose time has come and that are not settled, by stream.
        oldest_s: age of the oldest of them.
        in_flight: of these, those that a worker has read.
        delayed: jobs that wait for their time; of these `delayed_due` are due.
        held: of these, messages that wait for a paused target or a stopped lane.
        dead: dead letters.
        per_second: outcomes a second, of the last minute.
        latency_s: from enqueueing to the outcome: median, and what 95 % stay below.
        statuses: outcomes of the last minute, by status.
        codes: of those that went wrong, by code.
        pause_s: seconds until the project's pause by FCM's answers is over; 0 and a reason: on trial.
        pause_reason: why.
        stops: what operators have paused.
        cancellations: how many are in force.
        paused_targets: targets that FCM throttled, those with the longest queue; `paused_target_count` in all.
        workers: who works on it.
        strangers: jobs in lanes that do not exist, by name: misspelt.
    """

    project: str
    served: bool
    backlog: dict[str, int]
    in_flight: int
    delayed: int
    dead: int
    per_second: float
    delayed_due: int = 0
    held: int = 0
    oldest_s: dict[str, float] = {}
    latency_s: dict[str, float] = {}
    statuses: dict[str, int] = {}
    codes: dict[str, int] = {}
    pause_s: float = 0.0
    pause_reason: str = ""
    stops: list[Stop] = []
    cancellations: int = 0
    paused_targets: list[PausedByAnswers] = []
    paused_target_count: int = 0
    workers: list[WorkerFacts] = []
    strangers: dict[str, int] = {}


class Overall(msgspec.Struct):
    """What `--json` prints.

    Attributes:
        at: Redis clock, Unix seconds.
        projects: each that has keys in Redis, or was asked for.
    """

    at: float
    projects: list[ProjectStatus]


class _Brief(msgspec.Struct):
    """The part of an outcome that is counted here."""

    status: str
    enqueued_at: float = 0.0
    settled_at: float = 0.0
    code: str = ""


_briefs = msgspec.json.Decoder(list[_Brief]).decode


async def look(queue: Queue, asked: Sequence[str]) -> Overall:
    """Gather it all once.

    Raises:
        QueueError: Redis does not answer.
        SettingsError: nothing is known of a project that was asked for.
    """
    at = await queue.ping()
    known, leases = await queue.projects_in_use()
    missing = [project for project in asked if project not in known]
    if missing:
        there = ", ".join(known) or "none"
        raise SettingsError(f"--project {missing[0]}: Redis has nothing of it; there are: {there}")
    projects = list(asked) or known
    stats = await queue.stats(projects)
    controls = await queue.controls(projects)
    strangers = await queue.unserved(projects)
    found = []
    for project in projects:
        counted, control = stats[project], controls[project]
        values, covered = await queue.recent_outcomes(project, WINDOW_S)
        targets, target_count = await queue.paused_targets(project)
        orders = control.orders
        seen = ProjectStatus(
            project=project,
            served=bool(leases.get(project)),
            backlog={stream: counted.lanes[stream] for stream in STREAMS},
            oldest_s={stream: round(age, 1) for stream, age in counted.oldest.items()},
            in_flight=counted.pending,
            delayed=counted.delayed,
            delayed_due=counted.delayed_due,
            held=control.held,
            dead=counted.dead,
            per_second=0.0,
            pause_s=round(max(0.0, control.pause_until - control.now), 1),
            pause_reason=control.pause_reason,
            stops=control.stops,
            cancellations=len(orders.cancelled_lanes) + len(orders.campaigns) + len(orders.ids)
            if orders
            else 0,
            paused_targets=await with_names(queue, project, targets),
            paused_target_count=target_count,
            workers=await queue.workers(project, leases.get(project, {})),
            strangers={
                lane: count
                for (of, lane), count in strangers.items()
                if of == project and lane not in STREAMS
            },
        )
        _recent(seen, values, covered)
        found.append(seen)
    return Overall(round(at, 3), found)


def _recent(seen: ProjectStatus, values: list[bytes], covered: float) -> None:
    statuses: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    waits: list[float] = []
    for value in values:
        try:
            briefs = _briefs(value)
        except msgspec.DecodeError as error:
            raise ProtocolError(f"outcomes of {seen.project}: {error}") from None
        for brief in briefs:
            statuses[brief.status] += 1
            if brief.code:
                codes[brief.code] += 1
            waits.append(brief.settled_at - brief.enqueued_at)
    seen.per_second = round(statuses.total() / covered, 1)
    seen.statuses = dict(statuses.most_common())
    seen.codes = dict(codes.most_common())
    if waits:
        waits.sort()
        seen.latency_s = {
            "median": round(waits[len(waits) // 2], 3),
            "95%": round(waits[int(len(waits) * 0.95)], 3),
        }
