"""Veiling: what servers say goes into outcomes, dead letters and logs, without the secrets they may quote.

A gateway may repeat the registration token it did not like, a debugging proxy the whole request. Who reads a reason
must see which token it was, so that its own outcome names it in full (`target`), and must not learn anything else.
"""

from __future__ import annotations

from collections.abc import Collection

from dispatcher.model import Batch, SendResponse
from dispatcher.telemetry.logs import HIDDEN, clean_text, short

SHORTEST = 16
"""Shorter ones are nobody's tokens, and would be found in ordinary words."""

SEEN = 12
"""Characters of a secret at the end of a text that was cut, from which on they are taken for it."""


def veil(batch: Batch, responses: list[SendResponse], access_tokens: Collection[str]) -> None:
    """Clean the reasons of what failed, in place.

    Args:
        batch: what was sent.
        responses: one a message, in the order of `batch.messages()`.
        access_tokens: with which it was sent.
    """
    cleaned: set[int] = set()
    for (job, position), response in zip(batch.messages(), responses, strict=True):
        error = response.error
        if error is None or not error.reason:
            continue
        if job.kind not in _PUBLIC:
            error.reason = hide(error.reason, job.values[position], short(job.values[position]))
        if id(error) not in cleaned:  # one error may be that of many messages
            cleaned.add(id(error))
            for token in access_tokens:
                error.reason = hide(error.reason, token, HIDDEN)
    for response in responses:
        if response.error is not None and id(response.error) in cleaned:
            cleaned.discard(id(response.error))
            response.error.reason = clean_text(response.error.reason)


_PUBLIC = frozenset({"topic", "condition"})
"""Kinds of target that are no secrets."""


def hide(text: str, secret: str, stand_in: str) -> str:
    """Replace a secret wherever it stands in a text, also where the text was cut off within it."""
    if len(secret) < SHORTEST:
        return text
    text = text.replace(secret, stand_in)
    begins = text.rfind(secret[:SEEN])
    if begins >= 0 and secret.startswith(text[begins:].rstrip(".…\"' ")):
        text = text[:begins] + stand_in
    return text
