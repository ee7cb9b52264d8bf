"""`dispatcher status`: what goes on, from Redis alone (gathered in standing.py, drawn in status_view.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from dispatcher.cli.options import AsJson, Config, load, open_queue
from dispatcher.cli.standing import look
from dispatcher.cli.status_view import picture
from dispatcher.errors import QueueError
from dispatcher.settings import Settings

EXAMPLE = "Example: dispatcher status --watch"

_WIDE = 240
"""Columns where nobody looks: nothing is wrapped or cut in a pipe."""


def status(
    *,
    config: Config = None,
    project: Annotated[
        list[str] | None,
        typer.Option("--project", help="Only this project; may be repeated.", show_default=False),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again until interrupted.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Show backlog, throughput, errors, pauses and workers of each project, from Redis alone.

    Throughput, latency and errors come from the outcomes of the last minute; with DISPATCHER_OUTCOMES=failures only
    failures count.
    """
    settings = load(config)
    asyncio.run(_show(settings, project or [], every=every if watch else 0.0, as_json=as_json))


async def _show(settings: Settings, projects: Sequence[str], *, every: float, as_json: bool) -> None:
    queue = open_queue(settings)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDE)
    try:
        if not every or as_json or not console.is_terminal:
            while True:
                overall = await look(queue, projects)
                if as_json:
                    print(msgspec.json.encode(overall).decode(), flush=True)
                else:
                    console.print(picture(overall))
                if not every:
                    return
                await asyncio.sleep(every)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                try:
                    live.update(picture(await look(queue, projects)), refresh=True)
                except QueueError as error:
                    live.update(str(error), refresh=True)
                await asyncio.sleep(every)
    finally:
        await queue.aclose()
