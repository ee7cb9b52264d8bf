"""`dispatcher outcomes`: what became of messages, one line each; or what happened to one job or token."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
import typer

from dispatcher.cli.options import Config, Project, chosen_project, load, run
from dispatcher.cli.outcome_line import as_line
from dispatcher.cli.targets import target_of
from dispatcher.cli.trace import trace
from dispatcher.client import OutcomeReader
from dispatcher.client.cancellation import raise_if_cancelled
from dispatcher.errors import DispatcherError, SettingsError
from dispatcher.model import Status
from dispatcher.queue.store import Queue

EXAMPLE = (
    "Example: dispatcher outcomes --project demo-orchard-41 --follow --status invalid_token --format jsonl | clean-up"
    "\n\nExample: dispatcher outcomes --project demo-orchard-41 --job order-9"
)

_PAGE = 100
_ENTRY = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")
Format = Literal["text", "jsonl"]


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
    job: Annotated[
        str,
        typer.Option(help="What happened to this job, by your own id or its entry id?", show_default=False),
    ] = "",
    token: Annotated[
        str, typer.Option(help="What happened to this token (or topic:news, ...)?", show_default=False)
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Wait for new ones until interrupted.")] = False,
    form: Annotated[
        Format, typer.Option("--format", help="jsonl: one object a line, as producers read them.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
) -> None:
    """List the outcomes that are kept, oldest first; or tell what happened to one job or token.

    --job and --token look through lanes, delayed jobs, outcomes and dead letters; exit code 1 if nothing is there.
    """
    as_json = as_json or form == "jsonl"
    if status and status not in set(Status):
        raise SettingsError(f'--status: found "{status}"; allowed: {", ".join(Status)}')
    if not _ENTRY.fullmatch(after):
        raise SettingsError(f'--after: found "{after}"; give the id of an entry, as 1731000000000-0')
    settings = load(config)
    if job or token:
        if follow or after != "0-0" or status or (job and token):
            raise SettingsError("--job and --token stand alone, and one of them at a time")
        named = target_of(token).value if token else ""
        chosen = chosen_project(settings, project)
        run(settings, lambda queue: _trace(queue, chosen, job, named, as_json=as_json))
        return
    chosen = chosen_project(settings, project)
    run(
        settings,
        lambda queue: _list(
            OutcomeReader(queue, chosen, after), limit=limit, status=status, follow=follow, as_json=as_json
        ),
    )


async def _list(
    reader: OutcomeReader, *, limit: int | None, status: str, follow: bool, as_json: bool
) -> None:
    shown = 0
    while (records := await reader.read(_PAGE, wait_s=5.0 if follow else 0.0)) or follow:
        raise_if_cancelled()
        for record in records:
            for outcome in record.outcomes:
                if status and outcome.status != status:
                    continue
                print(as_line(outcome, as_json=as_json), flush=follow)
                shown += 1
                if shown == limit:
                    return


async def _trace(queue: Queue, project: str, job: str, token: str, *, as_json: bool) -> None:
    found = await trace(queue, project, job=job, token=token)
    for sighting in found:
        print(msgspec.json.encode(sighting).decode() if as_json else sighting.text)
    if not found:
        what = f"job {job}" if job else "this token"
        raise DispatcherError(
            f"Redis knows nothing of {what} in {project}: it never came, or its outcome is older than what is kept"
        )
