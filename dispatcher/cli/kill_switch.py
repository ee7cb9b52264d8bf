"""`dispatcher pause`, `resume` and `cancel`: what an operator orders, every worker obeys within a second."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from dispatcher.cli.options import (
    AsJson,
    Config,
    LaneFilter,
    ProjectArgument,
    TargetFilter,
    Yes,
    confirm,
    load,
    run,
)
from dispatcher.cli.targets import named, target_of
from dispatcher.cli.waiting import by_lane, jobs_and_messages, met_by, told
from dispatcher.errors import SettingsError
from dispatcher.model import Lane
from dispatcher.queue.orders import CancelKind
from dispatcher.queue.store import Queue

PAUSE_EXAMPLE = "Example: dispatcher pause demo-orchard-41 --lane bulk"
RESUME_EXAMPLE = "Example: dispatcher resume demo-orchard-41 --lane bulk"
CANCEL_EXAMPLE = "Example: dispatcher cancel demo-orchard-41 --campaign spring"


def pause(
    project: ProjectArgument,
    *,
    config: Config = None,
    lane: LaneFilter = None,
    target: TargetFilter = "",
    as_json: AsJson = False,
) -> None:
    """Let a project, one of its lanes or one target stand still until it is resumed. Nothing is lost: jobs wait."""
    name, label = _stop_of(lane, target)

    async def do(queue: Queue) -> None:
        waiting = await by_lane(queue, project, lane) if not target else {}
        new = await queue.stop(project, name, label)
        if as_json:
            print(json.dumps({"paused": label, "new": new, "waiting": waiting}))
            await _doubt(queue, project)
            return
        print(f"{project}, {label}: {'paused' if new else 'was paused already'}{told(waiting)}")
        await _doubt(queue, project)

    run(load(config), do)


def resume(
    project: ProjectArgument,
    *,
    config: Config = None,
    lane: LaneFilter = None,
    target: TargetFilter = "",
    as_json: AsJson = False,
) -> None:
    """Let go on what was paused, by an operator or by FCM's answers. What still stands still is told."""
    name, label = _stop_of(lane, target)

    async def do(queue: Queue) -> None:
        waiting = await by_lane(queue, project, lane) if not target else {}
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
        print(f"{project}, {label}: {done}{told(waiting)}")
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
    jobs, messages = run(settings, lambda queue: met_by(queue, project, kind, name))
    found = jobs_and_messages(jobs, messages)
    confirm(f"Cancel {found} of {project}, {kind} {name}?", yes=yes)
    run(settings, lambda queue: _cancel(queue, project, kind, name))
    if as_json:
        print(json.dumps({"cancelled": {kind: name}, "jobs": jobs, "messages": messages}))
    else:
        print(
            f"{project}, {kind} {name}: {found} cancelled; dispatcher outcomes --status cancelled lists them"
        )


async def _cancel(queue: Queue, project: str, kind: CancelKind, name: str) -> None:
    await queue.cancel(project, kind, name)
    await _doubt(queue, project)


async def _doubt(queue: Queue, project: str) -> None:
    """An order for a project that nobody knows is kept all the same; most likely it is misspelt."""
    if not await queue.knows(project):
        sys.stderr.write(
            f"dispatcher: Redis has nothing of {project}: see that it, DISPATCHER_NAMESPACE and DISPATCHER_REDIS_URL are the workers'\n"
        )


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
