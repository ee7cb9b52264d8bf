"""What was asked of the management services: a row for each token of a call, in order of arrival."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec


class Deed(msgspec.Struct, gc=False):
    """One thing that was asked of a management service, for one token, and how it was answered.

    Attributes:
        operation: as jobs name it: `topic.subscribe`, `token.info`, ...
        via: the call: `batch`, `relation` or `v1` for topics, else "".
        project: for which.
        subject: topic, application or group that it is about; "": none.
        kind, value: token, apns_token, subscription (its endpoint) or group_name.
        status: HTTP status of the call.
        word: error of this one; "": it was done.
        given: registration token or notification key in the answer.
    """

    operation: str
    via: str
    project: str
    subject: str
    kind: str
    value: str
    status: int = 200
    word: str = ""
    given: str = ""


COLUMNS = ("number", "time", "call", *Deed.__struct_fields__)
"""What a row of a page holds, in order."""


class Calls:
    """The management calls that arrived. Row number N is counted from 0."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets everything; numbering starts again."""
        self._rows: list[tuple[float, int, Deed]] = []
        self._calls: Counter[str] = Counter()
        self._largest: dict[str, int] = {}

    def record(self, deeds: list[Deed], now: float) -> None:
        """Appends what one HTTP request asked for."""
        if not deeds:
            return
        operation = deeds[0].operation
        number = self._calls.total()
        self._calls[operation] += 1
        self._largest[operation] = max(len(deeds), self._largest.get(operation, 0))
        self._rows.extend((now, number, deed) for deed in deeds)

    def page(self, after: int, limit: int, **equal: str) -> tuple[list[list[Any]], int | None]:
        """Rows from number `after` on, at most `limit`, and the number to go on with (None: that was all).

        Args:
            after: the first row to look at.
            limit: most rows.
            equal: fields of `Deed` and what they must be; "": anything.

        Returns:
            Rows as COLUMNS has them.
        """
        wanted = {name: value for name, value in equal.items() if value}
        chosen = [
            (number, row)
            for number, row in enumerate(self._rows)
            if number >= after and all(getattr(row[2], name) == value for name, value in wanted.items())
        ]
        found = [
            [number, at, call, *msgspec.structs.astuple(deed)] for number, (at, call, deed) in chosen[:limit]
        ]
        return found, chosen[limit][0] if len(chosen) > limit else None

    def summary(self) -> dict[str, Any]:
        """Totals: calls and tokens by operation, the most tokens in one call, and errors."""
        tokens: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for _, _, deed in self._rows:
            tokens[deed.operation] += 1
            if deed.word:
                errors[deed.word] += 1
        return {
            "calls": dict(self._calls),
            "tokens": dict(tokens),
            "largest_call": dict(self._largest),
            "errors": dict(errors),
        }
