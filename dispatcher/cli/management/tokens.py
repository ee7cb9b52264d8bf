"""`dispatcher tokens`: what is known of tokens; tokens for APNs tokens and web push subscriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dispatcher.cli.grouped_options import expands
from dispatcher.cli.management.follow import Order, Place, carry_out
from dispatcher.cli.management.options import order_of, place_of, tokens_of
from dispatcher.cli.management.source import Ask, Tokens, subscriptions
from dispatcher.cli.token_input import FileOptions, file_options
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


SubscriptionFile = Annotated[
    Path | None,
    typer.Option(
        "--subscription",
        metavar="FILE",
        help="What PushSubscription.toJSON() gave in the browser, or several, one a line; - for standard input.",
        show_default=False,
    ),
]


@tokens.command(epilog="Example: dispatcher tokens info --token fQ7x... --details")
@expands(place=place_of, source=tokens_of, order=order_of)
def info(
    *,
    place: Place,
    source: Tokens,
    details: Annotated[bool, typer.Option("--details", help="Also the topics that it follows.")] = False,
    order: Order,
) -> None:
    """Ask what the service knows of tokens: app, platform, sender, topics."""
    asks = source.asks(1, lambda piece: {"token": piece[0], "details": details})
    carry_out(place, "token.info", order, asks, source.file)


@expands(reading=file_options)
def _apns_tokens_of(
    *,
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
    reading: FileOptions,
) -> Tokens:
    return Tokens(apns_token, apns_tokens_file, reading, flag="--apns-token")


@tokens.command(
    "import-apns",
    epilog="Example: dispatcher tokens import-apns --application com.example.Orchard --apns-tokens ios.txt "
    "--results tokens.jsonl",
)
@expands(place=place_of, source=_apns_tokens_of, order=order_of)
def import_apns(
    *,
    place: Place,
    application: Annotated[str, typer.Option(help="The app's bundle id.", show_default=False)],
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="They are of Apple's development environment.")
    ] = False,
    source: Tokens,
    order: Order,
) -> None:
    """Get registration tokens for APNs tokens: jobs of 100, and one outcome with its token for each."""
    asks = source.asks(
        PARCEL_LIMITS["apns.import"],
        lambda piece: {"application": application, "sandbox": sandbox, "apns_tokens": piece},
    )
    carry_out(place, "apns.import", order, asks, source.file)


@tokens.command(
    "import-webpush",
    epilog=f"{_KEY}\n\nExample: dispatcher tokens import-webpush --subscription subscription.json",
)
@expands(place=place_of, order=order_of)
def import_webpush(*, place: Place, subscription: SubscriptionFile = None, order: Order) -> None:
    """Get registration tokens for web push subscriptions."""
    if subscription is None:
        raise SettingsError("name the file with the subscription: --subscription subscription.json")
    carry_out(place, "webpush.import", order, subscriptions(subscription, "--subscription"))


@tokens.command(
    "refresh-webpush",
    epilog="Example: dispatcher tokens refresh-webpush --token fQ7x... --subscription subscription.json\n\n"
    "Example: dispatcher tokens refresh-webpush --file changed.jsonl --results kept.jsonl",
)
@expands(place=place_of, order=order_of)
def refresh_webpush(
    *,
    place: Place,
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
    order: Order,
) -> None:
    """Give tokens their new web push subscriptions; each outcome names the token to keep."""
    if file is not None and not token and subscription is None:
        asks = subscriptions(file, "--file", with_token=True)
    elif file is None and token and subscription is not None:
        asks = iter([Ask({"token": token, **_one(subscription).request}, 1)])
    else:
        raise SettingsError("give --token with --subscription, or a file of both with --file")
    carry_out(place, "webpush.refresh", order, asks)


@tokens.command("delete-webpush", epilog="Example: dispatcher tokens delete-webpush --token fQ7x...")
@expands(place=place_of, source=tokens_of, order=order_of)
def delete_webpush(*, place: Place, source: Tokens, order: Order) -> None:
    """End the tokens of web push subscriptions."""
    asks = source.asks(1, lambda piece: {"token": piece[0]})
    carry_out(place, "webpush.delete", order, asks, source.file)


def _one(file: Path) -> Ask:
    """The only subscription of a file.

    Raises:
        SettingsError: there are several.
    """
    found = list(subscriptions(file, "--subscription"))
    if len(found) > 1:
        raise SettingsError(f"--subscription {file}: {len(found)} of them for one token; use --file")
    return found[0]
