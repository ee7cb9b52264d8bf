"""`dispatcher pause`, `resume` and `cancel`: what an operator orders, every worker obeys within a second."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from dispatcher.cli.options import AsJson, Config, ProjectArgument, Yes, confirm, load, open_queue
from dispatcher.errors import SettingsError
from dispatcher.model import LANES, Job, Lane, Target, TargetKind
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.queue.orders import CancelKind
from dispatcher.queue.search import Waiting
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings
from dispatcher.telemetry.logs import short

PAUSE_EXAMPLE = "Example: dispatcher pause demo-orchard-41 --lane bulk"
RESUME_EXAMPLE = "Example: dispatcher resume demo-orchard-41 --lane bulk"
CANCEL_EXAMPLE = "Example: dispatcher cancel demo-orchard-41 --campaign spring"

_KINDS: tuple[TargetKind, ...] = ("token", "topic", "condition", "fid", "group")
_LIMITS = DecodeLimits(strict=False)
_SHORT = 40

T = TypeVar("T")

LaneOption = Annotated[Lane | None, typer.Option(help="Only this lane.", show_default=False)]
TargetOption = Annotated[
    str,
    typer.Option(
        help="Only this token, or topic:news, condition:..., fid:..., group:....", show_default=False
    ),
]


def pause(
    project: ProjectArgument,
    *,
    config: Config = None,
    lane: LaneOption = None,
    target: TargetOption = "",
    as_json: AsJson = False,
) -> None:
    """Let a project, one of its lanes or one target stand still until it is resumed. Nothing is lost: jobs wait."""
    name, label = _stop_of(lane, target)

    async def do(queue: Queue) -> None:
        waiting = await _waiting(queue, project, lane) if not target else {}
        new = await queue.stop(project, name, label)
        if as_json:
            print(json.dumps({"paused": label, "new": new, "waiting": waiting}))
            return
        print(f"{project}, {label}: {'paused' if new else 'was paused already'}{_told(waiting)}")

    run(load(config), do)


def resume(
    project: ProjectArgument,
    *,
    config: Config = None,
    lane: LaneOption = None,
    target: TargetOption = "",
    as_json: AsJson = False,
) -> None:
    """Let go on what was paused, by an operator or by FCM's answers. What still stands still is told."""
    name, label = _stop_of(lane, target)

    async def do(queue: Queue) -> None:
        waiting = await _waiting(queue, project, lane) if not target else {}
        lifted = await queue.resume(project, name)
        # What the dispatcher paused by itself goes on, too: on trial, for FCM has the last word.
        hastened = False
        if name == "project":
            hastened = await queue.hasten(project)
        elif target:
            hastened = await queue.forget_pause(project, name.removeprefix("target:"))
        rest = [stop.label for stop in (await queue.controls([project]))[project].stops]
        if as_json:
            print(
                json.dumps(
                    {
                        "resumed": label,
                        "was_paused": lifted,
                        "tried_again": hastened,
                        "waiting": waiting,
                        "paused": rest,
                    }
                )
            )
            return
        done = (
            "resumed"
            if lifted
            else "its pause by FCM's answers is cut short"
            if hastened
            else "was not paused"
        )
        print(f"{project}, {label}: {done}{_told(waiting)}")
        if rest:
            print(f"still paused: {', '.join(rest)}")

    run(load(config), do)


def cancel(
    project: ProjectArgument,
    *,
    config: Config = None,
    campaign: Annotated[
        str, typer.Option(help="All jobs of this campaign, also those to come.", show_default=False)
    ] = "",
    lane: Annotated[
        Lane | None, typer.Option(help="All jobs that came into this lane until now.", show_default=False)
    ] = None,
    job_id: Annotated[
        str, typer.Option("--id", help="The job of this id, your own or its entry id.", show_default=False)
    ] = "",
    undo: Annotated[
        bool, typer.Option("--undo", help="Take a cancellation back; what it has ended stays ended.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Do not send jobs that have not been sent: they end as `cancelled`, scheduled ones when their time comes.

    A cancellation is kept for 30 days.
    """
    given: dict[CancelKind, str] = {"campaign": campaign, "lane": lane or "", "id": job_id}
    chosen = [(kind, name) for kind, name in given.items() if name]
    if len(chosen) != 1:
        raise SettingsError("name what to cancel: one of --campaign, --lane and --id")
    kind, name = chosen[0]
    settings = load(config)
    if undo:
        was = run(settings, lambda queue: queue.undo_cancel(project, kind, name))
        if as_json:
            print(json.dumps({"undone": was}))
        else:
            print(
                f"{project}, {kind} {name}: {'no longer cancelled' if was else 'there was no such cancellation'}"
            )
        raise typer.Exit(0 if was else 1)
    jobs, messages = run(settings, lambda queue: _count(queue, project, kind, name))
    found = f"{jobs:,} jobs with {messages:,} messages"
    confirm(f"Cancel {found} of {project}, {kind} {name}?", yes=yes)
    run(settings, lambda queue: queue.cancel(project, kind, name))
    if as_json:
        print(json.dumps({"cancelled": {kind: name}, "jobs": jobs, "messages": messages}))
    else:
        print(
            f"{project}, {kind} {name}: {found} cancelled; dispatcher outcomes --status cancelled lists them"
        )


def run(settings: Settings, do: Callable[[Queue], Awaitable[T]]) -> T:
    """Do something with a view of Redis of its own."""

    async def main() -> T:
        queue = open_queue(settings)
        try:
            return await do(queue)
        finally:
            await queue.aclose()

    return asyncio.run(main())


def target_of(text: str) -> Target:
    """The target that an operator names: `topic:news`, or a token as it is.

    Raises:
        SettingsError: nothing stands behind the kind.
    """
    kind, colon, value = text.partition(":")
    for known in _KINDS:
        if colon and kind == known:
            if not value:
                raise SettingsError(f'--target: found "{text}"; write it as {kind}:value')
            return Target(known, value)
    return Target("token", text)


def named(target: Target) -> str:
    """A target for people; tokens only begun."""
    secret = target.kind in ("token", "fid", "group") or len(target.value) > _SHORT
    return f"{target.kind} {short(target.value) if secret else target.value}"


def as_job(project: str, found: Waiting) -> Job:
    """What was found, read as a worker reads it."""
    return decode_entry(project, found.stream or "due", found.entry_id, found.fields, _LIMITS)


def _stop_of(lane: Lane | None, target: str) -> tuple[str, str]:
    """Name of a stop, and what it is for people."""
    if lane and target:
        raise SettingsError("name one of --lane and --target")
    if lane:
        return f"lane:{lane}", f"lane {lane}"
    if target:
        whom = target_of(target)
        return f"target:{whom.key}", named(whom)
    return "project", "the whole project"


async def _waiting(queue: Queue, project: str, lane: Lane | None) -> dict[str, int]:
    stats = (await queue.stats([project]))[project]
    lanes = [lane] if lane else [*LANES, "due"]
    counts = {str(name): count for name, count in stats.lanes.items() if name in lanes and count}
    if not lane and stats.delayed:
        counts["delayed"] = stats.delayed
    return counts


def _told(waiting: dict[str, int]) -> str:
    if not waiting:
        return ""
    return f"; jobs that wait there: {', '.join(f'{count:,} {name}' for name, count in waiting.items())}"


async def _count(queue: Queue, project: str, kind: CancelKind, name: str) -> tuple[int, int]:
    """(jobs, messages) that a cancellation meets now."""
    counts: Counter[str] = Counter()
    async for found in queue.search(project, b"" if kind == "lane" else name.encode()):
        job = as_job(project, found)
        if (
            (kind == "lane" and job.lane == name)
            or (kind == "campaign" and job.campaign == name)
            or (kind == "id" and name in (job.id, job.origin_id))
        ):
            counts["jobs"] += 1
            counts["messages"] += max(1, len(job.values))
    return counts["jobs"], counts["messages"]
