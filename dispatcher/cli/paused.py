"""Targets that stand still: those that FCM's answers have paused, by name; and whether a given one is paused.

Redis knows a paused target by a hash (`Target.key`), because tokens are nobody's business. Its name is in the messages
that wait for it, and only there: the one that took the last slot of its schedule is looked up.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.cli.moment import when
from dispatcher.cli.span import span
from dispatcher.cli.targets import KINDS, named
from dispatcher.cli.waiting import as_job
from dispatcher.model import MANAGEMENT, Target
from dispatcher.policy.schedule import INTERVALS
from dispatcher.queue.overview import PausedTarget
from dispatcher.queue.store import Queue

_MOST = 50
"""Jobs looked at for one name: more than can be due in the same two milliseconds, unless a herd was throttled at once."""


class PausedByAnswers(msgspec.Struct):
    """A target that FCM throttled.

    Attributes:
        kind: of target.
        target: its name, of a token only the beginning; "": nothing waits for it, so only its hash is known.
        key: that hash, behind the letter of its kind.
        for_s: seconds until its pause is over.
        queue_s: seconds until the last message that waits for it has gone.
    """

    kind: str
    target: str
    key: str
    for_s: float
    queue_s: float

    @property
    def text(self) -> str:
        """In one line, for people."""
        name = self.target or f"a {self.kind} ({self.key})"
        return f"{name}: {_ends(self.for_s, self.queue_s)}"


class TargetStanding(msgspec.Struct):
    """Whether a target that somebody asks about is paused in a project.

    Attributes:
        project: Firebase project id.
        target: its name, of a token only the beginning.
        paused: whether a new message to it would wait.
        stopped_since: an operator has paused it, Unix seconds; 0: nobody has.
        for_s: seconds until its pause by FCM's answers is over; 0: there is none.
        queue_s: seconds until the last message that waits for it has gone.
        project_paused: why its whole project stands still; "": it does not.
    """

    project: str
    target: str
    paused: bool
    stopped_since: float = 0.0
    for_s: float = 0.0
    queue_s: float = 0.0
    project_paused: str = ""

    @property
    def text(self) -> str:
        """In one line, for people."""
        why = []
        if self.stopped_since:
            why.append(f"paused by an operator since {when(self.stopped_since)}, until it is resumed")
        if self.queue_s:
            why.append(_ends(self.for_s, self.queue_s))
        if self.project_paused:
            why.append(self.project_paused)
        return f"{self.project}, {self.target}: {'; '.join(why) or 'not paused'}"


def _ends(for_s: float, queue_s: float) -> str:
    queue = f", its queue in {span(queue_s)}" if queue_s > for_s + 1 else ""
    return f"paused by FCM's answers; ends in {span(for_s)}{queue}"


async def with_names(queue: Queue, project: str, paused: Sequence[PausedTarget]) -> list[PausedByAnswers]:
    """Paused targets with their names, as far as something waits for them.

    Args:
        queue: a view of Redis.
        project: Firebase project id.
        paused: from `Queue.paused_targets`.
    """
    found = []
    for target in paused:
        kind = KINDS.get(target.key[:1])
        name = await _name(queue, project, target, INTERVALS[kind]) if kind else ""
        found.append(PausedByAnswers(kind or "target", name, target.key, target.for_s, target.queue_s))
    return found


async def _name(queue: Queue, project: str, paused: PausedTarget, interval: float) -> str:
    if paused.key == MANAGEMENT.key:
        return named(MANAGEMENT)
    last_slot = paused.free_at - interval
    for waiting in await queue.waiting_between(project, last_slot - 0.001, last_slot + 0.001, _MOST):
        job = as_job(project, waiting)
        for value in job.values:
            target = Target(job.kind, value)
            if target.key == paused.key:
                return named(target)
    return ""


async def standing_of(queue: Queue, project: str, target: Target) -> TargetStanding:
    """Whether a target is paused, by an operator or by FCM's answers, alone or with its project."""
    control = (await queue.controls([project]))[project]
    ((free, until),) = await queue.paused(project, [target.key])
    now = control.now
    since = next((stop.since for stop in control.stops if stop.name == f"target:{target.key}"), 0.0)
    whole = ""
    if control.stopped:
        whole = "the whole project is paused by an operator"
    elif control.pause_reason:
        left = f"for {span(control.pause_until - now)} more" if control.paused else "on trial"
        whole = f"the whole project is paused by FCM's answers, {left}: {control.pause_reason}"
    return TargetStanding(
        project,
        named(target),
        paused=bool(since or whole) or free > now,
        stopped_since=since,
        for_s=round(max(0.0, until - now), 1),
        queue_s=round(max(0.0, free - now), 1),
        project_paused=whole,
    )
