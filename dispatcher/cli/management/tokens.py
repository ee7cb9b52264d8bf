"""`dispatcher tokens`: what is known of tokens; tokens for APNs tokens and web push subscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

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
from dispatcher.cli.management.source import Ask, FileOptions, Tokens, subscriptions
from dispatcher.cli.options import AsJson, Config, Project, load
from dispatcher.errors import SettingsError
from dispatcher.protocol.operation import PARCEL_LIMITS
from dispatcher.protocol.web_push import VAPID_PUBLIC_KEY

tokens = typer.Typer(
    name="tokens",
    help="Tokens: what is known of them; and tokens for APNs tokens and web push subscriptions.",
    no_args_is_help=True,
)

_KEY = (
    "The browser must have subscribed with FCM's public VAPID key as applicationServerKey, or with the project's own. "
    f"FCM's is {VAPID_PUBLIC_KEY}"
)


@tokens.command(epilog="Example: dispatcher tokens info --token fQ7x... --details")
def info(
    *,
    config: Config = None,
    project: Project = "",
    token: Token = None,
    tokens_file: TokensFile = None,
    form: FileForm = None,
    column: Column = "",
    bad_rows: BadRowsOption = "skip",
    from_line: FromLine = 1,
    details: Annotated[bool, typer.Option("--details", help="Also the topics that it follows.")] = False,
    lane: LaneOption = "normal",
    results: Results = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Ask what the service knows of tokens: app, platform, sender, topics."""
    settings = load(config)
    order = order_of(
        settings, project, "token.info",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip
    options = FileOptions(form=form, column=column, from_line=from_line, bad_rows=bad_rows)
    source = Tokens(token, tokens_file, options)
    asks = (Ask({"token": one, "details": details}, 1, line) for one, line in _singly(source))
    carry_out(settings, order, asks, source)


@tokens.command(
    "import-apns",
    epilog="Example: dispatcher tokens import-apns --application com.example.Orchard --apns-tokens ios.txt "
    "--results tokens.jsonl",
)
def import_apns(
    *,
    config: Config = None,
    project: Project = "",
    application: Annotated[str, typer.Option(help="The app's bundle id.", show_default=False)],
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="They are of Apple's development environment.")
    ] = False,
    apns_token: Annotated[
        list[str] | None,
        typer.Option("--apns-token", help="APNs token in hexadecimal; may be repeated.", show_default=False),
    ] = None,
    apns_tokens_file: Annotated[
        Path | None,
        typer.Option(
            "--apns-tokens",
            metavar="FILE",
            help="File of APNs tokens, or - for standard input: one a line, .csv or .jsonl, also gzipped.",
            show_default=False,
        ),
    ] = None,
    form: FileForm = None,
    column: Column = "",
    bad_rows: BadRowsOption = "skip",
    from_line: FromLine = 1,
    lane: LaneOption = "normal",
    results: Results = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Get registration tokens for APNs tokens: jobs of 100, and one outcome with its token for each."""
    settings = load(config)
    order = order_of(
        settings, project, "apns.import",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip
    options = FileOptions(form=form, column=column, from_line=from_line, bad_rows=bad_rows)
    source = Tokens(apns_token, apns_tokens_file, options, flag="--apns-token")
    asks = (
        Ask({"application": application, "sandbox": sandbox, "apns_tokens": piece}, len(piece), line)
        for piece, line in source.pieces(PARCEL_LIMITS["apns.import"])
    )
    carry_out(settings, order, asks, source)


SubscriptionFile = Annotated[
    Path | None,
    typer.Option(
        "--subscription",
        metavar="FILE",
        help="What PushSubscription.toJSON() gave in the browser, or several, one a line; - for standard input.",
        show_default=False,
    ),
]


@tokens.command(
    "import-webpush",
    epilog=f"{_KEY}\n\nExample: dispatcher tokens import-webpush --subscription subscription.json",
)
def import_webpush(
    *,
    config: Config = None,
    project: Project = "",
    subscription: SubscriptionFile = None,
    lane: LaneOption = "normal",
    results: Results = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Get registration tokens for web push subscriptions."""
    settings = load(config)
    if subscription is None:
        raise SettingsError("name the file with the subscription: --subscription subscription.json")
    order = order_of(
        settings, project, "webpush.import",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip
    carry_out(settings, order, subscriptions(subscription, "--subscription"))


@tokens.command(
    "refresh-webpush",
    epilog="Example: dispatcher tokens refresh-webpush --token fQ7x... --subscription subscription.json\n\n"
    "Example: dispatcher tokens refresh-webpush --file changed.jsonl --results kept.jsonl",
)
def refresh_webpush(
    *,
    config: Config = None,
    project: Project = "",
    token: Annotated[str, typer.Option(help="The token so far.", show_default=False)] = "",
    subscription: SubscriptionFile = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Several, one {"token": ..., "subscription": {...}} a line; - for standard input.',
            show_default=False,
        ),
    ] = None,
    lane: LaneOption = "normal",
    results: Results = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Give tokens their new web push subscriptions; each outcome names the token to keep."""
    settings = load(config)
    order = order_of(
        settings, project, "webpush.refresh",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip
    if file is not None and not token and subscription is None:
        asks = subscriptions(file, "--file", with_token=True)
    elif file is None and token and subscription is not None:
        (ask,) = _one(subscription)
        asks = iter([Ask({"token": token, **ask.request}, 1)])
    else:
        raise SettingsError("give --token with --subscription, or a file of both with --file")
    carry_out(settings, order, asks)


@tokens.command("delete-webpush", epilog="Example: dispatcher tokens delete-webpush --token fQ7x...")
def delete_webpush(
    *,
    config: Config = None,
    project: Project = "",
    token: Token = None,
    tokens_file: TokensFile = None,
    form: FileForm = None,
    column: Column = "",
    bad_rows: BadRowsOption = "skip",
    from_line: FromLine = 1,
    lane: LaneOption = "normal",
    results: Results = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """End the tokens of web push subscriptions."""
    settings = load(config)
    order = order_of(
        settings, project, "webpush.delete",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip
    options = FileOptions(form=form, column=column, from_line=from_line, bad_rows=bad_rows)
    source = Tokens(token, tokens_file, options)
    carry_out(settings, order, (Ask({"token": one}, 1, line) for one, line in _singly(source)), source)


def _singly(source: Tokens) -> Iterator[tuple[str, int]]:
    for piece, line in source.pieces(1):
        yield piece[0], line


def _one(file: Path) -> list[Ask]:
    """The only subscription of a file.

    Raises:
        SettingsError: there are several.
    """
    found = list(subscriptions(file, "--subscription"))
    if len(found) > 1:
        raise SettingsError(f"--subscription {file}: {len(found)} of them for one token; use --file")
    return found
