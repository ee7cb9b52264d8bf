"""Reads the error table: which rule applies to an answer."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from typing import get_args

from dispatcher.model import Fate, SendError, TargetKind, Wire
from dispatcher.policy.error_table import ANY, TABLE, Scope, Step, Verdict, When

HALVED = frozenset({400, 413})
"""Outer statuses of a batch that blame its shape or size, not its messages (batch wire rules, section 6)."""

_SCOPE_WORDS: tuple[tuple[Scope, re.Pattern[str]], ...] = (
    # No list of subjects is published. The narrower word wins: pausing one target too many is mended by the next
    # answer, pausing a project for one device's sake stops everybody.
    ("device", re.compile(r"device|registration|instance|^tokens?$", re.MULTILINE)),
    ("topic", re.compile(r"topic|condition")),
    ("project", re.compile(r"project|consumer")),
)
_NAMED = re.compile(r"\b([a-z_]+)[:/]\S*")
"""`project:demo`, `projects/demo`: the name behind the word is the customer's and must not be read as a word."""


def classify(error: SendError, kind: TargetKind, *, twin_accepted: bool = False) -> Verdict:
    """Find what an answer means.

    The order is that of `Step`: fate, FcmError, ErrorInfo, `error.status`, the word of another wire, HTTP status.

    Args:
        error: an answer that was no success. `whole_request` is set only for the outer answer of a batch; the
            answer to a single send is about its message.
        kind: the kind of the message's target.
        twin_accepted: the same payload was accepted for another token in the same answer, so a bare "invalid
            argument" can only mean this token (HTTP v1 rules, section 8.1).
    """
    column = _COLUMNS[error.wire]
    for step, name in (
        (Step.FATE, error.fate if error.fate is not Fate.ANSWERED else ""),
        (Step.FCM_CODE, error.fcm_code),
        (Step.ERROR_INFO, error.error_info),
        (Step.RPC_STATUS, error.rpc_status),
        (Step.WORD, error.word),
        (Step.HTTP_STATUS, str(error.http_status)),
    ):
        if name:
            for when, verdict in column.get((step, name)) or column.get((step, ANY)) or ():
                if _holds(when, error, kind, twin_accepted):
                    return verdict
    raise AssertionError("the table ends with a row for any HTTP status")


def must_halve(error: SendError, size: int) -> bool:
    """Whether a batch of this size is to be sent again as two halves instead of being judged.

    A gateway that refuses the body of a batch says nothing about any message in it. At size 1 it does.
    """
    return error.whole_request and size > 1 and error.fate is Fate.ANSWERED and error.http_status in HALVED


def _holds(when: When, error: SendError, kind: TargetKind, twin_accepted: bool) -> bool:
    if when.whole is not None and when.whole is not error.whole_request:
        return False
    if when.http and error.http_status not in when.http:
        return False
    if when.kinds and kind not in when.kinds:
        return False
    if when.json is not None and when.json is not error.is_json:
        return False
    if when.info and when.info != error.error_info:
        return False
    if when.twin and (not twin_accepted or error.violations):
        return False
    if when.scope is not None and when.scope != quota_scope(error.quota_subjects):
        return False
    return not when.field or any(_pattern(when.field).fullmatch(field) for field in error.violations)


def quota_scope(subjects: list[str]) -> Scope | None:
    """Whose quota a QuotaFailure names; None: it does not say, or there is none.

    Args:
        subjects: its subjects and descriptions.
    """
    if not subjects:
        return None
    text = "\n".join(_NAMED.sub(r"\1", subject.lower()) for subject in subjects)
    return next((scope for scope, words in _SCOPE_WORDS if words.search(text)), None)


@cache
def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE)


def _index(wire: Wire) -> dict[tuple[Step, str], list[tuple[When, Verdict]]]:
    """One column by what is looked up: step and name, each with its rows in order."""
    index: dict[tuple[Step, str], list[tuple[When, Verdict]]] = defaultdict(list)
    for row in TABLE:
        for when in row.column(wire):
            for name in when.names:
                index[when.step, name].append((when, row.verdict))
    return dict(index)


_COLUMNS: dict[Wire, dict[tuple[Step, str], list[tuple[When, Verdict]]]] = {
    wire: _index(wire) for wire in get_args(Wire)
}
