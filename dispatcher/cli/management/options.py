"""Groups of options that the commands share (`expands`), and what they come to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dispatcher.cli.grouped_options import expands
from dispatcher.cli.management.follow import Order, Place
from dispatcher.cli.management.source import Tokens
from dispatcher.cli.options import AsJson, Config, Project, chosen_project, load
from dispatcher.cli.token_input import FileOptions, file_options
from dispatcher.model import Lane

Token = Annotated[
    list[str] | None,
    typer.Option("--token", help="Registration token; may be repeated.", show_default=False),
]
TokensFile = Annotated[
    Path | None,
    typer.Option(
        "--tokens",
        metavar="FILE",
        help="File of registration tokens, or - for standard input: one a line, .csv or .jsonl, also gzipped.",
        show_default=False,
    ),
]
LaneOption = Annotated[Lane, typer.Option("--lane", help="Where to queue it.")]
Results = Annotated[
    Path | None,
    typer.Option(
        "--results",
        metavar="FILE",
        help="Write every outcome there, one JSON object a line; - for standard output.",
        show_default=False,
    ),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Enqueue, and do not wait for the outcomes.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, help="How long to wait for the next outcome, in seconds.")
]


def place_of(*, config: Config = None, project: Project = "") -> Place:
    """The settings, and the project that is meant.

    Raises:
        SettingsError: one is wrong, or no project is named.
    """
    settings = load(config)
    return Place(settings, chosen_project(settings, project))


@expands(reading=file_options)
def tokens_of(*, token: Token = None, tokens_file: TokensFile = None, reading: FileOptions) -> Tokens:
    """The registration tokens that are given; see `Tokens` for what is raised."""
    return Tokens(token, tokens_file, reading)


def order_of(
    *,
    lane: LaneOption = "normal",
    results: Results = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read what is given and enqueue nothing.")
    ] = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> Order:
    """How it is to be done."""
    wait_s = 0.0 if no_wait else timeout
    return Order(lane=lane, results=results, wait_s=wait_s, dry_run=dry_run, as_json=as_json)


def order_without_dry_run(
    *,
    lane: LaneOption = "normal",
    results: Results = None,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> Order:
    """The same for commands without a dry run."""
    return order_of(lane=lane, results=results, no_wait=no_wait, timeout=timeout, as_json=as_json)
