"""One outcome as a line of text or JSON."""

from __future__ import annotations

import msgspec

from dispatcher.cli.moment import when
from dispatcher.model import Outcome
from dispatcher.telemetry.logs import short

_LONG = 40
"""Longer targets are tokens; a terminal shows their beginning."""


def as_line(outcome: Outcome, *, as_json: bool = False, whole: bool = False) -> str:
    """One outcome as a line: JSON as it is stored, or text with the time at which it was settled.

    Args:
        outcome: to show.
        as_json: JSON, for machines.
        whole: show the target however long it is.
    """
    if as_json:
        return msgspec.json.encode(outcome).decode()
    kind, value = next(iter(outcome.target.items()), ("", ""))
    target = f"{kind} {short(value) if len(value) > _LONG and not whole else value}"
    detail = outcome.message_id or " ".join(part for part in (outcome.code, outcome.reason) if part)
    again = " (may have been sent twice)" if outcome.possible_duplicate else ""
    place = f"{outcome.job}[{outcome.index}]"
    return (
        f"{when(outcome.settled_at)} {outcome.status:<13} {place:<22} {target:<26} {detail}{again}".rstrip()
    )
