"""The error table as Markdown: the README's is printed from here, so it cannot be wrong.

python -m dispatcher.policy.table
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

from dispatcher.model import Action, Wire
from dispatcher.policy.error_table import ANY, TABLE, Step, Verdict, When

MEANING: dict[Action, str] = {
    Action.DROP_TOKEN: "outcome `invalid_token`",
    Action.WRONG_PROJECT: "outcome `wrong_project`; many at once pause the project instead, and the messages wait",
    Action.FIX_REQUEST: "outcome `rejected`, dead letter; the token is kept",
    Action.RETRY: "sent again after {base:g} s, doubling",
    Action.PAUSE_TARGET: "its target is held for {base:g} s, doubling, then sent to slowly; all others go on",
    Action.PAUSE_PROJECT: "the project stops for {base:g} s, doubling, then is probed (management: waits by itself, sends go on); no token is touched",
    Action.HOLD_MESSAGE: "this message alone waits {base:g} s, doubling, until it expires; neither token nor credentials are touched",
    Action.REFRESH_CREDS: "access token fetched anew and sent again, once; then as a paused project",
    Action.SWITCH_ROUTE: "`auto` goes over to `v1`; without another wire as a paused project; no token is touched",
}
"""What each action does to the message, as a reader of outcomes sees it."""

_NAMES = {
    Step.FCM_CODE: "`{}`",
    Step.ERROR_INFO: "ErrorInfo `{}`",
    Step.RPC_STATUS: "status `{}`",
    Step.WORD: "`{}`",
}
_ANY = {Step.FCM_CODE: "any other FcmError", Step.WORD: "any other error", Step.HTTP_STATUS: "anything else"}
_FATES = {
    "not_sent": "none: the request never left",
    "unknown": "none that can be read, after the request left",
}
_SCOPES = {"project": "names the project", "device": "names the device", "topic": "names the topic"}


_WIRES: dict[Wire, str] = {
    "v1": "HTTP v1",
    "legacy": "legacy HTTP",
    "xmpp": "XMPP",
    "iid": "topics, tokens, groups",
}
"""The columns of answers, by what readers call the wire."""


class Line(NamedTuple):
    """One row as people read it; `answers` by wire, "": it has no such answer."""

    code: str
    answers: dict[Wire, str]
    action: str
    meaning: str


def lines() -> Iterator[Line]:
    """The rows, in the order in which they are matched."""
    for row in TABLE:
        answers = {wire: _answers(row.column(wire)) for wire in _WIRES}
        yield Line(str(row.verdict.code), answers, str(row.verdict.action), _meaning(row.verdict))


def markdown() -> str:
    """The table in Markdown; `code` is the one in outcomes."""
    columns = ["`code`", *_WIRES.values(), "action", "what becomes of the message"]
    shown = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for line in lines():
        cells = [
            f"`{line.code}`",
            *(line.answers[wire] or "-" for wire in _WIRES),
            f"`{line.action}`",
            line.meaning,
        ]
        shown.append(f"| {' | '.join(cells)} |")
    return "\n".join(shown) + "\n"


def _meaning(verdict: Verdict) -> str:
    text = MEANING[verdict.action].format(base=verdict.base)
    return f"{text}; at most {verdict.retries} times" if verdict.retries else text


def _answers(column: tuple[When, ...]) -> str:
    """The answers of a row on one wire, those of one kind together."""
    told: dict[str, list[str]] = {}
    for when in column:
        told.setdefault(_conditions(when), []).extend(_names(when))
    return "; or ".join(
        ", ".join(dict.fromkeys(names)) + (f" ({conditions})" if conditions else "")
        for conditions, names in told.items()
    )


def _names(when: When) -> list[str]:
    if when.step is Step.FATE:
        return [_FATES[name] for name in when.names]
    if when.step is Step.HTTP_STATUS and ANY not in when.names:
        return [f"HTTP {', '.join(when.names)}"]
    return [_ANY[when.step] if name == ANY else _NAMES[when.step].format(name) for name in when.names]


def _conditions(when: When) -> str:
    found = []
    if when.whole:
        found.append("to a whole batch")
    if when.whole is False:
        found.append("to one message")
    if when.http and when.step is not Step.FATE:
        found.append(f"with HTTP {', '.join(map(str, sorted(when.http)))}")
    if when.kinds:
        found.append(f"target: {', '.join(sorted(when.kinds))}")
    if when.json is False:
        found.append("no JSON")
    if when.info:
        found.append(f"with ErrorInfo `{when.info}`")
    if when.scope is not None:
        found.append(f"its QuotaFailure {_SCOPES[when.scope]}")
    if when.twin:
        found.append("the same payload was accepted for another token, and no field is blamed")
    if when.field:
        found.append(f"blames {when.blames}")
    return ", ".join(found)


if __name__ == "__main__":
    sys.stdout.write(markdown())
