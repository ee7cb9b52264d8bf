"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from dispatcher.errors import SettingsError
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings

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
        show_default=False,
    ),
]
ProjectArgument = Annotated[
    str, typer.Argument(metavar="PROJECT", help="Firebase project id.", show_default=False)
]
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
    return Queue.at(
        settings.require_redis_url(),
        consumer=f"cli-{uuid4().hex[:12]}",
        namespace=settings.namespace,
        password_file=settings.redis_password_file,
    )


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
