"""What was to be reached, and whether it was: ratios and figures, as rows of a table.

A ratio is the median of the ratios of all rounds: in a round, what is compared ran close together.
"""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

Row = dict[str, Any]
Rows = list[list[str]]
HEAD = ("what", "figure", "aim", "met")


class Aim(NamedTuple):
    """What a figure is to reach.

    Attributes:
        bound: of it.
        least: from below; else from above.
        open: the bound itself is not enough.
    """

    bound: float
    least: bool
    open: bool = False

    def met(self, value: float) -> bool:
        """Whether it does."""
        if value == self.bound:
            return not self.open
        return (value > self.bound) is self.least

    def __str__(self) -> str:
        """As a table says it."""
        words = ("less than", "at most", "more than", "at least")
        return f"{words[2 * self.least + (not self.open)]} {self.bound:,g}"


AIMS = {
    "batch": {"cpu_us": Aim(16, least=False), "msg_per_s": Aim(60_000, least=True)},
    "v1-h2": {"cpu_us": Aim(40, least=False), "msg_per_s": Aim(20_000, least=True)},
    "v1": {"cpu_us": Aim(170, least=False)},
}
"""By wire, of a worker."""
NAMES = {"cpu_us": ("CPU us a message", "{:,.1f}"), "msg_per_s": ("msg/s", "{:,.0f}")}
TO_PEERS = (
    ("worker, v1-h2", "node fcm-v1-http2 1.0", "msg_per_s", Aim(2, least=True)),
    ("worker, v1-h2", "python firebase-admin 7.7 `send_each`", "msg_per_s", Aim(40, least=True)),
    ("worker, batch", "node firebase-admin 11 `sendAll`", "cpu_us", Aim(1, least=False, open=True)),
)
"""Ratios to others: of whom, to whom, in what, and the aim."""


def of_workers(figures: Row) -> Rows:
    """Whether cost stays flat, how far the floor is, and the aims in figures: one project, a server that answers at once."""
    found = {(row["wire"], row["jobs"], row["latency_ms"], row["projects"]): row for row in figures["rows"]}
    plain = sorted({jobs for _, jobs, latency, projects in found if not latency and projects == 1})
    few, many = plain[0], plain[-1]
    middle = plain[len(plain) // 2]
    crowd = max(projects for *_, projects in found)
    wires = dict.fromkeys(row["wire"] for row in figures["rows"] if row["wire"] != "bare")
    one = {(wire, jobs): found[wire, jobs, 0.0, 1] for wire, jobs, *rest in found if rest == [0.0, 1]}
    rows: Rows = []
    for wire in wires:
        if few != many and {(wire, few), (wire, many)} <= set(one):
            growth = _ratio("cpu_us", one[wire, many], one[wire, few])
            what = f"`{wire}`, {many:,} jobs to {few:,}: CPU a message"
            rows.append(_aimed(what, growth, "{:.2f}", Aim(1.2, least=False)))
        if crowd > 1 and (wire, middle, 0.0, crowd) in found and (wire, middle) in one:
            ratio = _ratio("cpu_us", found[wire, middle, 0.0, crowd], one[wire, middle])
            what = f"`{wire}`, {crowd} projects to 1: CPU a message"
            rows.append(_aimed(what, ratio, "{:.2f}", Aim(1.3, least=False)))
    for jobs in plain:
        if {("bare", jobs), ("batch", jobs)} <= set(one):
            bare, batch = one["bare", jobs], one["batch", jobs]
            share = _ratio("msg_per_s", batch, bare)
            what = f"`batch` to the bare loop, {jobs:,} jobs: msg/s"
            rows.append(_aimed(what, share, "{:.2f}", Aim(0.6, least=True)))
            rows.append(["the same: CPU a message", f"{_ratio('cpu_us', batch, bare):.2f}", "", ""])
    for wire, aims in AIMS.items():
        if (wire, middle) in one:
            rows += _absolute(f"`{wire}`, {middle:,} jobs", one[wire, middle], aims)
    peak = max((row["rss_mb"] for row in figures["rows"] if "rss_mb" in row), default=None)
    if peak is not None:
        rows.append(
            _aimed("largest peak of resident memory, MB", peak, "{:.0f}", Aim(150, least=False, open=True))
        )
    return rows


def _aimed(what: str, value: float, form: str, aim: Aim) -> list[str]:
    return [what, form.format(value), str(aim), "yes" if aim.met(value) else "no"]


def _absolute(what: str, row: Row, aims: dict[str, Aim]) -> Rows:
    return [
        _aimed(f"{what}: {NAMES[figure][0]}", row[figure], NAMES[figure][1], aim)
        for figure, aim in aims.items()
    ]


def beside_peers(figures: Row) -> Rows:
    """Workers to other clients, each the median of the ratios of all rounds; and the aims in figures, in that run."""
    found = {row["name"]: row for row in figures["rows"]}
    rows: Rows = []
    for ours, theirs, figure, aim in TO_PEERS:
        if {ours, theirs} <= set(found):
            ratio = _ratio(figure, found[ours], found[theirs])
            rows.append(_aimed(f"{ours}, to {theirs}: {NAMES[figure][0]}", ratio, "{:.2f}", aim))
    for wire, aims in AIMS.items():
        if f"worker, {wire}" in found:
            rows += _absolute(f"worker, {wire}", found[f"worker, {wire}"], aims)
    return rows


def _ratio(figure: str, row: Row, other: Row) -> float:
    """The median of the ratios of all rounds; of older results, which have no rounds, the ratio of the medians."""
    if not ("each" in row and "each" in other):
        return row[figure] / other[figure]
    rounds = zip(row["each"][figure], other["each"][figure], strict=True)
    return statistics.median(one / another for one, another in rounds)
