"""The options that commands of management share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dispatcher.cli.management.follow import Order
from dispatcher.cli.management.source import BadRows
from dispatcher.cli.options import chosen_project
from dispatcher.client.token_file import Form
from dispatcher.model import Lane
from dispatcher.settings import Settings

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
FileForm = Annotated[
    Form | None,
    typer.Option("--format", help="How that file is written, if not by its name.", show_default=False),
]
Column = Annotated[
    str,
    typer.Option(
        "--column", help="Its column (CSV) or member (JSON lines) with the tokens.", show_default=False
    ),
]
BadRowsOption = Annotated[
    BadRows, typer.Option("--bad-rows", help="What to do at a row that is no token, or the same again.")
]
FromLine = Annotated[int, typer.Option("--from-line", min=1, help="Pass over the rows before this line.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read what is given and enqueue nothing.")]
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


def order_of(
    settings: Settings,
    project: str,
    operation: str,
    *,
    lane: Lane = "normal",
    results: Path | None = None,
    no_wait: bool = False,
    timeout: float = 60.0,
    dry_run: bool = False,
    as_json: bool = False,
) -> Order:
    """The order that these options make.

    Raises:
        SettingsError: no project is named.
    """
    return Order(
        project=chosen_project(settings, project),
        operation=operation,
        lane=lane,
        results=results,
        wait_s=0.0 if no_wait else timeout,
        dry_run=dry_run,
        as_json=as_json,
    )
