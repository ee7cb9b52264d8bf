"""`dispatcher groups`: device groups, up to 20 tokens behind one notification key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from dispatcher.cli.management.follow import Order, carry_out, follow
from dispatcher.cli.management.options import (
    Column,
    FileForm,
    LaneOption,
    NoWait,
    Results,
    Timeout,
    Token,
    TokensFile,
    order_of,
)
from dispatcher.cli.management.report import as_text
from dispatcher.cli.management.source import Ask, FileOptions, Tokens
from dispatcher.cli.options import AsJson, Config, Project, load
from dispatcher.client.token_file import Form
from dispatcher.errors import DispatcherError, SettingsError
from dispatcher.protocol.device_group import MEMBERS_LIMIT
from dispatcher.settings import Settings

groups = typer.Typer(
    name="groups",
    help="Device groups: up to 20 tokens behind one key, which is sent to like a token. Workers need DISPATCHER_SENDER_ID for them.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The group's name.", show_default=False)]
Key = Annotated[
    str,
    typer.Option("--key", help="Its notification key; left out, it is asked for first.", show_default=False),
]


@groups.command(epilog="Example: dispatcher groups create user-771 --token fQ7x... --token dK2p...")
def create(
    name: Name,
    *,
    config: Config = None,
    project: Project = "",
    token: Token = None,
    tokens_file: TokensFile = None,
    form: FileForm = None,
    column: Column = "",
    lane: LaneOption = "normal",
    results: Results = None,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Make a group of up to 20 tokens; the outcome has its notification key."""
    settings = load(config)
    order = order_of(
        settings, project, "group.create",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, as_json=as_json,
    )  # fmt: skip
    members = _members(token, tokens_file, form, column)
    carry_out(settings, order, [Ask({"name": name, "tokens": members}, 1)])


@groups.command(epilog="Example: dispatcher groups add user-771 --token aB9c...")
def add(
    name: Name,
    *,
    config: Config = None,
    project: Project = "",
    key: Key = "",
    token: Token = None,
    tokens_file: TokensFile = None,
    form: FileForm = None,
    column: Column = "",
    lane: LaneOption = "normal",
    results: Results = None,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Add members to a group."""
    settings = load(config)
    order = order_of(
        settings, project, "group.add",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, as_json=as_json,
    )  # fmt: skip
    _change(settings, order, name, key, _members(token, tokens_file, form, column))


@groups.command(epilog="Example: dispatcher groups remove user-771 --key APA91b... --token aB9c...")
def remove(
    name: Name,
    *,
    config: Config = None,
    project: Project = "",
    key: Key = "",
    token: Token = None,
    tokens_file: TokensFile = None,
    form: FileForm = None,
    column: Column = "",
    lane: LaneOption = "normal",
    results: Results = None,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Take members out of a group; with the last one the group ends."""
    settings = load(config)
    order = order_of(
        settings, project, "group.remove",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, as_json=as_json,
    )  # fmt: skip
    _change(settings, order, name, key, _members(token, tokens_file, form, column))


@groups.command(epilog="Example: dispatcher groups get user-771")
def get(
    name: Name,
    *,
    config: Config = None,
    project: Project = "",
    lane: LaneOption = "normal",
    results: Results = None,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Ask for the notification key of a group."""
    settings = load(config)
    order = order_of(
        settings, project, "group.get",
        lane=lane, results=results, no_wait=no_wait, timeout=timeout, as_json=as_json,
    )  # fmt: skip
    carry_out(settings, order, [Ask({"name": name}, 1)])


def _members(given: list[str] | None, file: Path | None, form: Form | None, column: str) -> list[str]:
    """The tokens that a command is about, all in one job.

    Raises:
        SettingsError: there are none, or too many, or a row of the file is none.
    """
    source = Tokens(given, file, FileOptions(form=form, column=column, bad_rows="stop"))
    try:
        pieces = [piece for piece, _ in source.pieces(MEMBERS_LIMIT)]
    except ValueError as error:
        raise SettingsError(f"{source.name}: {error}") from None
    finally:
        source.close()
    if len(pieces) != 1:
        found = "no token" if not pieces else f"more than {MEMBERS_LIMIT} tokens"
        raise SettingsError(f"{source.name or '--token'}: {found}; a group has 1 to {MEMBERS_LIMIT} members")
    return pieces[0]


def _change(settings: Settings, order: Order, name: str, key: str, members: list[str]) -> None:
    carry_out(
        settings,
        order,
        [Ask({"name": name, "key": key or _key(settings, order, name), "tokens": members}, 1)],
    )


def _key(settings: Settings, order: Order, name: str) -> str:
    """The key of the group of this name.

    Raises:
        DispatcherError: it cannot be had.
        SettingsError: nobody is to wait for it.
    """
    if not order.wait_s:
        raise SettingsError("--no-wait: then name the group's --key; dispatcher groups get tells it")
    asked = Order(project=order.project, operation="group.get", lane=order.lane, wait_s=order.wait_s)
    summary = follow(settings, asked, [Ask({"name": name}, 1)])
    if not summary.ok:
        raise DispatcherError(summary.failure or as_text(summary, dry_run=False, waited=True))
    (outcome,) = summary.outcomes
    result: dict[str, Any] = orjson.loads(bytes(outcome.result))
    return str(result["notification_key"])
