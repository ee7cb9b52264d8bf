"""`dispatcher groups`: device groups, up to 20 tokens behind one notification key."""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import Annotated, Any

import orjson
import typer

from dispatcher.cli.grouped_options import expands
from dispatcher.cli.management.follow import Order, Place, carry_out, follow
from dispatcher.cli.management.options import Token, TokensFile, order_without_dry_run, place_of
from dispatcher.cli.management.report import as_text
from dispatcher.cli.management.source import Ask, Tokens
from dispatcher.cli.token_input import Column, FileForm, FileOptions
from dispatcher.errors import DispatcherError, SettingsError
from dispatcher.protocol.device_group import MEMBERS_LIMIT

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


def _members_of(
    *, token: Token = None, tokens_file: TokensFile = None, form: FileForm = None, column: Column = ""
) -> list[str]:
    """The tokens that a command is about, all in one job.

    Raises:
        SettingsError: there are none, or too many, or a row of the file is none.
    """
    source = Tokens(token, tokens_file, FileOptions(form=form, column=column, bad_rows="stop"))
    name = source.file.name if source.file is not None else "--token"
    with closing(source.file) if source.file is not None else nullcontext():
        try:
            pieces = [piece for piece, _ in source.pieces(MEMBERS_LIMIT)]
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from None
    if len(pieces) != 1:
        found = "no token" if not pieces else f"more than {MEMBERS_LIMIT} tokens"
        raise SettingsError(f"{name}: {found}; a group has 1 to {MEMBERS_LIMIT} members")
    return pieces[0]


@groups.command(epilog="Example: dispatcher groups create user-771 --token fQ7x... --token dK2p...")
@expands(place=place_of, members=_members_of, order=order_without_dry_run)
def create(name: Name, *, place: Place, members: list[str], order: Order) -> None:
    """Make a group of up to 20 tokens; the outcome has its notification key."""
    carry_out(place, "group.create", order, [Ask({"name": name, "tokens": members}, 1)])


@groups.command(epilog="Example: dispatcher groups add user-771 --token aB9c...")
@expands(place=place_of, members=_members_of, order=order_without_dry_run)
def add(name: Name, *, place: Place, key: Key = "", members: list[str], order: Order) -> None:
    """Add members to a group."""
    _change(place, "group.add", order, name, key, members)


@groups.command(epilog="Example: dispatcher groups remove user-771 --key APA91b... --token aB9c...")
@expands(place=place_of, members=_members_of, order=order_without_dry_run)
def remove(name: Name, *, place: Place, key: Key = "", members: list[str], order: Order) -> None:
    """Take members out of a group; with the last one the group ends."""
    _change(place, "group.remove", order, name, key, members)


@groups.command(epilog="Example: dispatcher groups get user-771")
@expands(place=place_of, order=order_without_dry_run)
def get(name: Name, *, place: Place, order: Order) -> None:
    """Ask for the notification key of a group."""
    carry_out(place, "group.get", order, [Ask({"name": name}, 1)])


def _change(place: Place, operation: str, order: Order, name: str, key: str, members: list[str]) -> None:
    request = {"name": name, "key": key or _key(place, order, name), "tokens": members}
    carry_out(place, operation, order, [Ask(request, 1)])


def _key(place: Place, order: Order, name: str) -> str:
    """The key of the group of this name.

    Raises:
        DispatcherError: it cannot be had.
        SettingsError: nobody is to wait for it.
    """
    if not order.wait_s:
        raise SettingsError("--no-wait: then name the group's --key; dispatcher groups get tells it")
    asked = Order(lane=order.lane, wait_s=order.wait_s)
    summary = follow(place, "group.get", asked, [Ask({"name": name}, 1)])
    if not summary.ok:
        raise DispatcherError(summary.failure or as_text(summary, dry_run=False, waited=True))
    (outcome,) = summary.outcomes
    result: dict[str, Any] = orjson.loads(bytes(outcome.result))
    return str(result["notification_key"])
