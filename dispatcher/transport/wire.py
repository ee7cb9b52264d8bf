"""What a transport is: one call for a batch, one response for each of its messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from dispatcher.model import Batch, Fate, SendError, SendResponse

Observe = Callable[[str, int, list[float]], None]
"""Told of requests that have ended: wire, HTTP status (0: no answer), how long each took in seconds."""


MaySend = Callable[[], bool]
"""Asked right before the bytes of each request leave: whether these messages are still the caller's to send."""


def always() -> bool:
    """The `MaySend` of callers that have nothing to lose."""
    return True


class Transport(Protocol):
    """One way to FCM.

    Attributes:
        name: the label of metrics and logs, as the TRANSPORT setting spells it.
    """

    @property
    def name(self) -> str:
        """The wire that the next send will use."""
        ...

    @property
    def carrier(self) -> str:
        """What its requests are counted by: its name, or `v1-h2` for `v1` over HTTP/2."""
        ...

    def requests(self, batch: Batch) -> int:
        """How many requests `batch` will have in flight at once if nothing limits it."""
        ...

    async def send(
        self, batch: Batch, access_token: str, *, now: float, at_once: int, may_send: MaySend = always
    ) -> list[SendResponse]:
        """Send every message of `batch` once.

        Args:
            batch: what to send.
            access_token: bearer token; "": the server asks for none.
            now: Redis clock, from which the remaining time to live is taken.
            at_once: how many requests may be in flight at a time.
            may_send: once it says no, what has not left by then does not leave any more.

        Returns:
            One response a message, in the order of `batch.messages()`. A failed call is an error in each of its
            messages, never an exception.
        """
        ...


class Timeouts(msgspec.Struct, frozen=True):
    """How long an answer may take, in seconds.

    `broadcast` is for topics and conditions, which FCM may take 30 s to answer.
    """

    request: float = 15.0
    broadcast: float = 60.0

    def of(self, batch: Batch) -> float:
        """The limit for this batch."""
        return self.broadcast if batch.broadcast else self.request


def alike(count: int, error: SendError) -> list[SendResponse]:
    """The same error for `count` messages."""
    return [SendResponse(error=error)] * count


def not_sent(reason: str) -> SendError:
    """The request never left: connecting, resolving or the TLS handshake failed."""
    return SendError(Fate.NOT_SENT, whole_request=True, reason=reason)


def unknown_fate(reason: str, *, http_status: int = 0) -> SendError:
    """The request left, and no readable answer came back."""
    return SendError(Fate.UNKNOWN, http_status=http_status, whole_request=True, reason=reason)
