"""A job as a producer adds it: flat fields made of typed arguments. How they are read stands in job.py.

In parts, because a producer of many jobs makes the parts that they share once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from dispatcher.model import OnUnknown


def encode_message(message: Mapping[str, Any] | bytes | str) -> bytes:
    """The field `message`: the v1 Message, given as an object or as JSON.

    Raises:
        TypeError: it cannot be written as JSON.
    """
    if isinstance(message, str):
        return message.encode()
    return message if isinstance(message, bytes) else orjson.dumps(message)


def encode_tokens(tokens: Sequence[str]) -> bytes:
    """The field `tokens`.

    Raises:
        TypeError: one of them is no text.
    """
    "".join(tokens)  # the encoder would write numbers as they are
    return orjson.dumps(tokens if isinstance(tokens, list) else list(tokens))


def encode_options(
    *,
    group: str = "",
    id: str = "",  # noqa: A002 - the name of the field
    deliver_at: float = 0.0,
    expires_at: float = 0.0,
    dedup_key: str = "",
    on_unknown: OnUnknown = "resend",
    campaign: str = "",
    validate_only: bool = False,
    delivery_receipt: bool = False,
    attributes: Any = None,
    traceparent: str = "",
) -> list[bytes]:
    """The fields beside `message` and `tokens`, name and value in turn; what is empty is left out.

    Args:
        group: send it to this device group (its notification key).
        id: the producer's own id.
        deliver_at: Unix seconds; not before.
        expires_at: Unix seconds; not after.
        dedup_key: a later job with the same key is not sent.
        on_unknown: `give_up` rather than risk a second delivery.
        campaign: counts into it.
        validate_only: FCM checks, delivers nothing.
        delivery_receipt: report it when a device has the message (XMPP only).
        attributes: anything that JSON can hold, up to 1 KB; comes back in the outcome.
        traceparent: W3C trace context.

    Raises:
        TypeError: the attributes cannot be written as JSON.
    """
    texts = (
        (b"group", group),
        (b"id", id),
        (b"deliver_at", _seconds(deliver_at)),
        (b"expires_at", _seconds(expires_at)),
        (b"dedup_key", dedup_key),
        (b"on_unknown", "" if on_unknown == "resend" else on_unknown),
        (b"campaign", campaign),
        (b"validate_only", "1" if validate_only else ""),
        (b"delivery_receipt", "1" if delivery_receipt else ""),
        (b"traceparent", traceparent),
    )
    flat: list[bytes] = []
    for name, text in texts:
        if text:
            flat += (name, text.encode())
    if attributes is not None:
        flat += (b"attributes", orjson.dumps(attributes))
    return flat


def _seconds(at: float) -> str:
    # Never in scientific notation, which readers of the field refuse.
    return f"{at:.6f}".rstrip("0").rstrip(".") if at else ""
