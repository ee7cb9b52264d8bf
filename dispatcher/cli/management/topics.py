"""`dispatcher topics`: tokens follow a topic, or no longer do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from dispatcher.cli.management.follow import carry_out
from dispatcher.cli.management.options import (
    BadRowsOption,
    Column,
    DryRun,
    FileForm,
    FromLine,
    LaneOption,
    NoWait,
    Results,
    Timeout,
    Token,
    TokensFile,
    order_of,
)
from dispatcher.cli.management.source import Ask, FileOptions, Tokens
from dispatcher.cli.options import AsJson, Config, Project, load
from dispatcher.protocol.operation import PARCEL_LIMITS

topics = typer.Typer(
    name="topics",
    help="Topics: subscribe tokens, and unsubscribe them, from options or a file.",
    no_args_is_help=True,
)

Via = Literal["auto", "batch", "relation", "v1"]

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name.", show_default=False)]
Leave = Literal["auto", "batch", "v1"]
LeaveOption = Annotated[
    Leave,
    typer.Option(
        "--via",
        help="By which call: batch, 1,000 tokens each; v1, one token each; auto, batch while there is one.",
    ),
]
ViaOption = Annotated[
    Via,
    typer.Option(
        "--via",
        help="By which call: batch, 1,000 tokens each; relation or v1, one token each; auto, batch while there is one.",
    ),
]


@topics.command(
    epilog="Example: dispatcher topics subscribe harvest-news --tokens users.csv.gz --results subscribed.jsonl"
)
def subscribe(
    topic: Topic,
    *,
    config: Config = None,
    project: Project = "",
    token: Token = None,
    tokens_file: TokensFile = None,
    form: FileForm = None,
    column: Column = "",
    bad_rows: BadRowsOption = "skip",
    from_line: FromLine = 1,
    via: ViaOption = "auto",
    lane: LaneOption = "normal",
    results: Results = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Subscribe tokens to a topic: jobs of 1,000, and one outcome for each token."""
    settings = load(config)
    order = order_of(
        settings, project, "topic.subscribe",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip
    options = FileOptions(form=form, column=column, from_line=from_line, bad_rows=bad_rows)
    tokens = Tokens(token, tokens_file, options)
    carry_out(settings, order, _asks(topic, via, tokens), tokens)


@topics.command(epilog="Example: dispatcher topics unsubscribe harvest-news --token fQ7x... --token dK2p...")
def unsubscribe(
    topic: Topic,
    *,
    config: Config = None,
    project: Project = "",
    token: Token = None,
    tokens_file: TokensFile = None,
    form: FileForm = None,
    column: Column = "",
    bad_rows: BadRowsOption = "skip",
    from_line: FromLine = 1,
    via: LeaveOption = "auto",
    lane: LaneOption = "normal",
    results: Results = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Take tokens off a topic, whether they followed it or not: jobs of 1,000, and one outcome for each token."""
    settings = load(config)
    order = order_of(
        settings, project, "topic.unsubscribe",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip
    options = FileOptions(form=form, column=column, from_line=from_line, bad_rows=bad_rows)
    tokens = Tokens(token, tokens_file, options)
    carry_out(settings, order, _asks(topic, via, tokens), tokens)


def _asks(topic: str, via: Via, tokens: Tokens) -> Iterator[Ask]:
    for piece, line in tokens.pieces(PARCEL_LIMITS["topic.subscribe"]):
        yield Ask({"topic": topic, "tokens": piece, "via": via}, len(piece), line)
