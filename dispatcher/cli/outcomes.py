"""`dispatcher outcomes`: what became of messages, one line each."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import msgspec
import typer

from dispatcher.cli.options import AsJson, Config, Project, chosen_project, load, open_queue
from dispatcher.client import OutcomeReader
from dispatcher.errors import SettingsError
from dispatcher.model import Outcome, Status
from dispatcher.settings import Settings
from dispatcher.telemetry.logs import short

EXAMPLE = "Example: dispatcher outcomes --project demo-orchard-41 --status failed --json"

_PAGE = 100
_LONG = 40
"""Longer targets are tokens; a terminal shows their beginning."""


def outcomes(
    *,
    config: Config = None,
    project: Project = "",
    after: Annotated[
        str, typer.Option(metavar="ENTRY", help="Begin after this entry of the stream.", show_default=False)
    ] = "0-0",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Show at most so many outcomes.", show_default=False)
    ] = None,
    status: Annotated[
        str, typer.Option(help=f"Only this status: {', '.join(Status)}.", show_default=False)
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Wait for new ones until interrupted.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the outcomes that are kept, oldest first. With --json one object a line, as producers read them."""
    if status and status not in set(Status):
        raise SettingsError(f'--status: found "{status}"; allowed: {", ".join(Status)}')
    settings = load(config)
    asyncio.run(
        _list(
            settings,
            chosen_project(settings, project),
            after,
            limit=limit,
            status=status,
            follow=follow,
            as_json=as_json,
        )
    )


async def _list(
    settings: Settings,
    project: str,
    after: str,
    *,
    limit: int | None,
    status: str,
    follow: bool,
    as_json: bool,
) -> None:
    queue = open_queue(settings)
    try:
        reader = OutcomeReader(queue, project, after)
        shown = 0
        while records := await reader.read(_PAGE, wait_s=5.0 if follow else 0.0) or follow:
            for record in records if isinstance(records, list) else ():
                for outcome in record.outcomes:
                    if status and outcome.status != status:
                        continue
                    print(as_line(outcome, as_json=as_json), flush=follow)
                    shown += 1
                    if shown == limit:
                        return
    finally:
        await queue.aclose()


def as_line(outcome: Outcome, *, as_json: bool = False) -> str:
    """One outcome as a line: JSON as it is stored, or text with the time at which it was settled."""
    if as_json:
        return msgspec.json.encode(outcome).decode()
    settled = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(outcome.settled_at))
    kind, value = next(iter(outcome.target.items()), ("", ""))
    target = f"{kind} {short(value) if len(value) > _LONG else value}"
    detail = outcome.message_id or " ".join(part for part in (outcome.code, outcome.reason) if part)
    again = " (may have been sent twice)" if outcome.possible_duplicate else ""
    place = f"{outcome.job}[{outcome.index}]"
    return f"{settled} {outcome.status:<13} {place:<22} {target:<26} {detail}{again}".rstrip()
