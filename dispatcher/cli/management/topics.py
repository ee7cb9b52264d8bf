"""`dispatcher topics`: tokens follow a topic, or no longer do."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dispatcher.cli.grouped_options import expands
from dispatcher.cli.management.follow import Order, Place, carry_out
from dispatcher.cli.management.options import order_of, place_of, tokens_of
from dispatcher.cli.management.source import Tokens
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
@expands(place=place_of, source=tokens_of, order=order_of)
def subscribe(topic: Topic, *, place: Place, source: Tokens, via: ViaOption = "auto", order: Order) -> None:
    """Subscribe tokens to a topic: jobs of 1,000, and one outcome for each token."""
    _carry_out(place, "topic.subscribe", order, topic, via, source)


@topics.command(epilog="Example: dispatcher topics unsubscribe harvest-news --token fQ7x... --token dK2p...")
@expands(place=place_of, source=tokens_of, order=order_of)
def unsubscribe(
    topic: Topic, *, place: Place, source: Tokens, via: LeaveOption = "auto", order: Order
) -> None:
    """Take tokens off a topic, whether they followed it or not: jobs of 1,000, and one outcome for each token."""
    _carry_out(place, "topic.unsubscribe", order, topic, via, source)


def _carry_out(place: Place, operation: str, order: Order, topic: str, via: Via, source: Tokens) -> None:
    asks = source.asks(PARCEL_LIMITS[operation], lambda piece: {"topic": topic, "tokens": piece, "via": via})
    carry_out(place, operation, order, asks, source.file)
