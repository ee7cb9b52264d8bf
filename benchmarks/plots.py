"""The plots of the READMEs, from the figures under results/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import results
import svg

Row = dict[str, Any]


def drawn(*, quick: bool = False) -> dict[str, str]:
    """All plots of which there are figures, as SVG, by name."""
    loaded = ((name, results.load(source, quick=quick), plot) for name, (source, plot) in PICTURES.items())
    return {name: plot(figures) for name, figures, plot in loaded if figures is not None}


def draw(folder: Path, *, quick: bool = False) -> None:
    """All plots into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in drawn(quick=quick).items():
        (folder / f"{name}.svg").write_text(picture)


def _bars(title: str, unit: str, figure: str, *, falling: bool) -> Callable[[Row], str]:
    def plot(figures: Row) -> str:
        rows = sorted(figures["rows"], key=lambda row: row[figure], reverse=falling)
        bars = [
            svg.Bar(row["name"].replace("`", ""), row[figure], row["name"].startswith("worker"))
            for row in rows
        ]
        return svg.bars(title, unit, bars)

    return plot


def _backlog(figures: Row) -> str:
    series: dict[str, list[tuple[float, float]]] = {}
    for row in figures["rows"]:
        if not row["latency_ms"] and row["projects"] == 1 and row["wire"] in ("bare", "batch", "v1-h2"):
            series.setdefault(row["wire"], []).append((row["jobs"], row["cpu_us"]))
    return svg.lines(
        "CPU of the worker over the backlog", "jobs waiting", "us a message", series, logarithmic_x=True
    )


def _latency(figures: Row) -> str:
    series: dict[str, list[tuple[float, float]]] = {}
    server_ms: dict[
        str, float
    ] = {}  # of a wire's line; a row with another is a point of its own, in the table
    for row in figures["rows"]:
        if row["lane"] == "normal" and row["server_ms"] == server_ms.setdefault(
            row["wire"], row["server_ms"]
        ):
            for share in ("p50", "p99"):
                series.setdefault(f"{row['wire']}, {share}", []).append((row["rate"], row[share]))
    return svg.lines(
        "From enqueueing to outcome, above the server's own latency", "messages a second", "ms", series,
        logarithmic_x=True, limit=("aim for p99", 45.0),
    )  # fmt: skip


def _quota(figures: Row) -> str:
    series = {
        f"{row['workers']} worker{'s' if row['workers'] > 1 else ''}": [
            (at, use) for at, use in enumerate(row["use"]) if at >= 1
        ][:60]
        for row in figures["quota"]
    }
    return svg.lines(
        f"Use of the quotas of {figures['quota'][0]['projects']} projects (simulated)", "seconds",
        "share of the rate", series, limit=("all of it", 1.0),
    )  # fmt: skip


def _outage(figures: Row) -> str:
    series = {
        "all of it down for 120 s": _peaks(figures["outage"][0]["use"]),
        "granted half of it": _peaks(figures["throttled"][0]["use"]),
    }
    return svg.lines(
        "What arrives at FCM (simulated, the greatest second of each five)", "seconds", "share of the rate",
        series,
    )  # fmt: skip


def _peaks(each_second: list[float], seconds: int = 5) -> list[tuple[float, float]]:
    """A mean would hide the herd that is looked for."""
    spans = (each_second[at : at + seconds] for at in range(0, len(each_second) - seconds + 1, seconds))
    return [(at * seconds, max(span)) for at, span in enumerate(spans)]


PICTURES: dict[str, tuple[str, Callable[[Row], str]]] = {
    "cpu": ("peers", _bars("CPU of the sender", "us a message", "cpu_us", falling=False)),
    "throughput": (
        "peers",
        _bars("Throughput of one sender", "messages a second", "msg_per_s", falling=True),
    ),
    "backlog": ("pipeline", _backlog),
    "latency": ("latency", _latency),
    "quota": ("fleet", _quota),
    "outage": ("fleet", _outage),
}
