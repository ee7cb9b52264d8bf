"""The ledger: every message that arrived, and how it was answered; what proofs of loss and duplication rest on.

A row is one small object the collector never visits, and a batch is appended in one go.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec


class Arrival(msgspec.Struct, gc=False):
    """One message that arrived.

    Attributes:
        project: to which it was addressed.
        kind: of its target; "": unreadable.
        target: token, topic, condition, fid, or a device group's key.
        id: the value of `id` in the message's data; "": none.
        digest: CRC-32 of the body, to tell equal bodies from different ones.
        status: HTTP status it was answered with; 0: the connection was cut before it was processed.
        code: name of the refusal, "OK", or "VALIDATED" for a message that was only to be checked.
        recipients: the tokens that a message to a topic, a condition or a group reached.
    """

    project: str
    kind: str
    target: str
    id: str
    digest: int
    status: int
    code: str
    recipients: tuple[str, ...] = ()


class Ledger:
    """What arrived, in order of arrival. Message number N is row N, counted from 0."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets everything; numbering starts again."""
        self._rows: list[Arrival] = []
        self._times = array("d")
        self._requests = array("L")
        self.requests: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.largest: dict[str, int] = {}
        self.refused: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.first: float = 0.0
        self.last: float = 0.0

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, wire: str, arrivals: list[Arrival], now: float) -> None:
        """Appends the messages of one HTTP request."""
        count = len(arrivals)
        number = self.requests.total()
        self.requests[wire] += 1
        self.messages[wire] += count
        self.largest[wire] = max(count, self.largest.get(wire, 0))
        if not self._rows:
            self.first = now
        self.last = now
        self._rows.extend(arrivals)
        self._times.extend([now] * count)
        self._requests.extend([number] * count)

    def refuse(self, wire: str, status: int) -> None:
        """Counts an HTTP request that was refused (status 0: cut) as a whole; its messages did not arrive."""
        self.refused[f"{wire}:{status}"] += 1

    def rows(
        self, project: str = "", kind: str = "", target: str = "", id_: str = ""
    ) -> Iterator[tuple[int, Arrival]]:
        """Numbered rows, all or those that are equal in what is given."""
        for number, row in enumerate(self._rows):
            if (
                (not project or row.project == project)
                and (not kind or row.kind == kind)
                and (not target or row.target == target)
                and (not id_ or row.id == id_)
            ):
                yield number, row

    def page(self, after: int, limit: int, **equal: str) -> tuple[list[list[Any]], int | None]:
        """Rows from number `after` on, at most `limit`, and the number to go on with (None: that was all).

        Returns:
            Rows `[number, time, request, project, kind, target, id, digest, status, code]`.
        """
        found: list[list[Any]] = []
        if any(equal.values()):
            chosen = [(number, row) for number, row in self.rows(**equal) if number >= after]
        else:
            chosen = list(enumerate(self._rows[after : after + limit + 1], after))
        for number, row in chosen[:limit]:
            found.append([
                number, self._times[number], self._requests[number],
                row.project, row.kind, row.target, row.id, row.digest, row.status, row.code,
            ])  # fmt: skip
        return found, chosen[limit][0] if len(chosen) > limit else None

    def deliveries(
        self, after: int, limit: int, token: str = "", **equal: str
    ) -> tuple[list[list[Any]], int | None]:
        """Whom accepted messages to topics, conditions and groups reached, in pages as those of `page`.

        Args:
            after: the first row to look at.
            limit: most rows.
            token: only what reached it.
            equal: as there.

        Returns:
            Rows `[number, time, project, kind, target, id, recipients]`.
        """
        chosen = [
            (number, row)
            for number, row in self.rows(**equal)
            if number >= after
            and row.code == "OK"
            and row.kind in ("topic", "condition", "group")
            and (not token or token in row.recipients)
        ]
        found = [
            [number, self._times[number], row.project, row.kind, row.target, row.id, row.recipients]
            for number, row in chosen[:limit]
        ]
        return found, chosen[limit][0] if len(chosen) > limit else None

    def summary(self) -> dict[str, Any]:
        """Totals: by status, code, project, kind and wire; when the first and the last arrived."""
        by_status: Counter[int] = Counter()
        by_code: Counter[str] = Counter()
        by_project: Counter[str] = Counter()
        by_kind: Counter[str] = Counter()
        for row in self._rows:
            by_status[row.status] += 1
            by_code[row.code] += 1
            by_project[row.project] += 1
            by_kind[row.kind] += 1
        return {
            "messages": len(self._rows),
            "accepted": by_code["OK"],
            "by_status": {str(status): count for status, count in by_status.items()},
            "by_code": dict(by_code),
            "by_project": dict(by_project),
            "by_kind": dict(by_kind),
            "requests": dict(self.requests),
            "messages_by_wire": dict(self.messages),
            "largest_request": dict(self.largest),
            "refused_requests": dict(self.refused),
            "http_versions": dict(self.versions),
            "first": self.first,
            "last": self.last,
        }

    def counts(self, by: str, *, accepted_only: bool, at_least: int = 1, **equal: str) -> dict[str, int]:
        """How many messages arrived by `target` (keyed "kind:value"), `id`, `status` or `code`."""
        counts: Counter[str] = Counter()
        for _, row in self.rows(**equal):
            if accepted_only and row.code != "OK":
                continue
            if by == "target":
                counts[f"{row.kind}:{row.target}"] += 1
            elif by == "id":
                counts[row.id] += 1
            elif by == "status":
                counts[str(row.status)] += 1
            else:
                counts[row.code] += 1
        return {key: count for key, count in counts.items() if count >= at_least}
