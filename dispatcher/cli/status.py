"""`dispatcher status`: what goes on, from Redis alone (gathered in standing.py, drawn in status_view.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from dispatcher.cli.options import AsJson, Config, Projects, TargetFilter, load, run
from dispatcher.cli.paused import TargetStanding, standing_of
from dispatcher.cli.standing import look
from dispatcher.cli.status_view import NOTHING, picture
from dispatcher.cli.targets import target_of
from dispatcher.client.cancellation import raise_if_cancelled
from dispatcher.errors import QueueError, SettingsError
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings

EXAMPLE = "Example: dispatcher status --watch\n\nExample: dispatcher status --target topic:news"

_WIDE = 240
"""Columns where nobody looks: nothing is wrapped or cut in a pipe."""


def status(
    *,
    config: Config = None,
    project: Projects = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again until interrupted.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    target: TargetFilter = "",
    as_json: AsJson = False,
) -> None:
    """Show backlog, throughput, errors, pauses and workers of each project, from Redis alone; or whether a target is paused.

    Throughput, latency and errors come from the outcomes of the last minute; with DISPATCHER_OUTCOMES=failures only
    failures count.
    """
    settings = load(config)
    if target:
        if watch:
            raise SettingsError("--target: tells how it is now; leave --watch out")
        _tell(settings, project or [], target, as_json=as_json)
        return
    run(settings, lambda queue: _show(queue, project or [], every=every if watch else 0.0, as_json=as_json))


def _tell(settings: Settings, projects: Sequence[str], text: str, *, as_json: bool) -> None:
    """Whether a target is paused, in each project that is asked for."""
    target = target_of(text)

    async def do(queue: Queue) -> list[TargetStanding]:
        names = projects or settings.projects or (await queue.projects_in_use())[0]
        return [await standing_of(queue, name, target) for name in names]

    found = run(settings, do)
    if as_json:
        print(msgspec.json.encode(found).decode())
    for standing in () if as_json else found:
        print(standing.text)
    if not found and not as_json:
        print(NOTHING)


async def _show(queue: Queue, projects: Sequence[str], *, every: float, as_json: bool) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDE)
    if not every or as_json or not console.is_terminal:
        while True:
            overall = await look(queue, projects)
            if as_json:
                print(msgspec.json.encode(overall).decode(), flush=True)
            else:
                console.print(picture(overall, console.width))
            if not every:
                return
            raise_if_cancelled()
            await asyncio.sleep(every)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                live.update(picture(await look(queue, projects), console.width), refresh=True)
            except QueueError as error:
                live.update(str(error), refresh=True)
            raise_if_cancelled()
            await asyncio.sleep(every)
