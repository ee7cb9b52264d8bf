"""Options that commands share, and what they come to."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import uuid4

import typer

from dispatcher.client.jobs import check_project
from dispatcher.errors import SettingsError
from dispatcher.model import Lane
from dispatcher.pipeline.store import queue_of
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings

T = TypeVar("T")


def _project_ids(given: str | list[str] | None) -> str | list[str] | None:
    """Refuses what is no project id: a brace in it would split its keys over the slots of a Cluster.

    Raises:
        SettingsError: it is none.
    """
    for project in [given] if isinstance(given, str) else given or []:
        if project:
            try:
                check_project(project)
            except ValueError as error:
                raise SettingsError(str(error)) from None
    return given


Config = Annotated[
    Path | None,
    typer.Option(
        "--config", help="TOML file with settings; DISPATCHER_* variables win over it.", show_default=False
    ),
]
Project = Annotated[
    str,
    typer.Option(
        "--project",
        help="Firebase project id; may be left out where DISPATCHER_PROJECTS names just one.",
        callback=_project_ids,
        show_default=False,
    ),
]
ProjectFilter = Annotated[
    str,
    typer.Option(
        "--project",
        help="Only this project; default: DISPATCHER_PROJECTS, or all.",
        callback=_project_ids,
        show_default=False,
    ),
]
Projects = Annotated[
    list[str] | None,
    typer.Option(
        "--project", help="Only this project; may be repeated.", callback=_project_ids, show_default=False
    ),
]
ProjectArgument = Annotated[
    str,
    typer.Argument(metavar="PROJECT", help="Firebase project id.", callback=_project_ids, show_default=False),
]
LaneFilter = Annotated[Lane | None, typer.Option("--lane", help="Only this lane.", show_default=False)]
TargetFilter = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="T",
        help="Only this token, or topic:news, condition:..., fid:..., group:....",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count what it is about, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking, for scripts.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for machines.")]


def load(config: Path | None) -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: one is wrong.
    """
    return Settings.load(config, os.environ)


def open_queue(settings: Settings) -> Queue:
    """A command's own view of Redis; close it with `aclose`.

    Raises:
        SettingsError: no Redis URL is set, or it cannot be read.
    """
    return queue_of(settings, f"cli-{uuid4().hex[:12]}")


def run(settings: Settings, do: Callable[[Queue], Awaitable[T]]) -> T:
    """Do something with a view of Redis of its own."""

    async def main() -> T:
        queue = open_queue(settings)
        try:
            return await do(queue)
        finally:
            await queue.aclose()

    return asyncio.run(main())


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal whether to go on.

    Raises:
        SettingsError: there is no terminal to ask on, and `--yes` is not given.
        typer.Exit: with 1, the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise SettingsError(f"{question} There is no terminal to ask on: say --yes")
    if not typer.confirm(question, err=True):
        sys.stderr.write("nothing was done\n")
        raise typer.Exit(1)


def chosen_project(settings: Settings, given: str) -> str:
    """The project that a command is about.

    Raises:
        SettingsError: none is given, and the settings do not name just one.
    """
    if given:
        return given
    if len(settings.projects) == 1:
        return settings.projects[0]
    raise SettingsError(
        "name the project: --project demo-orchard-41 (or set DISPATCHER_PROJECTS to just one)"
    )
