"""Tables and plots from the figures under results/: into this folder's README, the project's, and plots/.

python benchmarks/tables.py
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import results
import svg

HERE = Path(__file__).parent
PLOTS = HERE / "plots"
Row = dict[str, Any]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def when(figures: Row) -> str:
    """What was measured on what."""
    it = figures["measured"]
    quick = ", quick: one round and small counts" if it["quick"] else ""
    return (
        f"{it['date']}, commit {it['commit']}, {it['cores']} cores ({it['processor']}), load {it['load']}, Python "
        f"{it['python']}, Redis {it['redis']}, nginx {it['nginx']}, Node {it['node']}{quick}.\n\n"
    )


def _given(row: Row, name: str, form: str) -> str:
    return form.format(row[name]) if name in row else "-"


def pipeline(figures: Row) -> str:
    return when(figures) + table(
        [
            "wire", "jobs waiting", "server, ms", "projects", "msg/s", "worker CPU us/message", "peak RSS MB",
            "Redis commands a batch", "TLS handshakes in 10,000",
        ],
        (
            [
                row["wire"], f"{row['jobs']:,}", f"{row['latency_ms']:g}", str(row["projects"]), f"{row['msg_per_s']:,.0f}",
                f"{row['cpu_us']:.1f}", _given(row, "rss_mb", "{:.0f}"), _given(row, "commands_a_batch", "{:.2f}"),
                _given(row, "handshakes", "{:.1f}"),
            ]
            for row in figures["rows"]
        ),
    )  # fmt: skip


def ratios(figures: Row) -> str:
    """Whether cost stays flat, and how far the floor is: each the median of the ratios of all rounds."""
    found = {(row["wire"], row["jobs"], row["latency_ms"], row["projects"]): row for row in figures["rows"]}
    plain = sorted({jobs for _, jobs, latency, projects in found if not latency and projects == 1})
    few, many = plain[0], plain[-1]
    middle = plain[len(plain) // 2]
    crowd = max((projects for *_, projects in found), default=1)
    rows = []
    for wire in dict.fromkeys(row["wire"] for row in figures["rows"] if row["wire"] != "bare"):
        growth = _ratio("cpu_us", found[wire, many, 0.0, 1], found[wire, few, 0.0, 1])
        rows.append([f"`{wire}`, {many:,} jobs to {few:,}: CPU a message", f"{growth:.2f}", "at most 1.2"])
        if (wire, middle, 0.0, crowd) in found and crowd > 1:
            ratio = _ratio("cpu_us", found[wire, middle, 0.0, crowd], found[wire, middle, 0.0, 1])
            rows.append([f"`{wire}`, {crowd} projects to 1: CPU a message", f"{ratio:.2f}", "at most 1.3"])
    for jobs in plain:
        if ("bare", jobs, 0.0, 1) in found:
            bare, batch = found["bare", jobs, 0.0, 1], found["batch", jobs, 0.0, 1]
            share = _ratio("msg_per_s", batch, bare)
            rows.append([f"`batch` to the bare loop, {jobs:,} jobs: msg/s", f"{share:.2f}", "at least 0.6"])
            share = _ratio("cpu_us", batch, bare)
            rows.append(["the same: CPU a message", f"{share:.2f}", ""])
    return table(["what", "ratio", "aim"], rows)


def _ratio(figure: str, row: Row, other: Row) -> float:
    rounds = zip(row["each"][figure], other["each"][figure], strict=True)
    return statistics.median(one / another for one, another in rounds)


def latency(figures: Row) -> str:
    return when(figures) + table(
        ["wire", "lane", "messages/s", "waiting in bulk", "p50 ms", "p99 ms", "p99.9 ms", "aim for p99"],
        (
            [
                row["wire"], row["lane"], f"{row['rate']:,}", _given(row, "bulk", "{:,}"), f"{row['p50']:g}",
                f"{row['p99']:g}", f"{row['p99.9']:g}", f"{row['limit_ms']:g}",
            ]
            for row in figures["rows"]
        ),
    )  # fmt: skip


def memory(figures: Row) -> str:
    return when(figures) + table(
        [
            "wire", "server answers", "projects", "jobs", "jobs waiting", "messages settled or put aside", "idle MB",
            "peak MB",
        ],
        (
            [
                row["wire"], row["server"], str(row.get("projects", 1)), row["kind"], f"{row['jobs']:,}",
                f"{row['messages_gone']:,}", str(row["idle_mb"]), str(row["peak_mb"]),
            ]
            for row in figures["rows"]
        ),
    )  # fmt: skip


def peers(figures: Row) -> str:
    return when(figures) + table(
        ["what", "wire", "msg/s", "CPU us/message", "connections"],
        (
            [
                row["name"], row["wire"], f"{row['msg_per_s']:,.0f}", f"{row['cpu_us']:,.1f}",
                _given(row, "connections", "{:.0f}"),
            ]
            for row in figures["rows"]
        ),
    )  # fmt: skip


def producer(figures: Row) -> str:
    return when(figures) + table(
        ["what", "messages", "a second (wall)", "a second of CPU", "CPU us each", "peak RSS MB"],
        (
            [
                row["what"], f"{row['messages']:,}", f"{row['a_second']:,.0f}", f"{row['a_cpu_second']:,.0f}",
                f"{row['cpu_us']:.2f}", f"{row['rss_mb']:.0f}",
            ]
            for row in figures["rows"]
        ),
    )  # fmt: skip


def wires(figures: Row) -> str:
    return when(figures) + table(
        ["what", "items", "a second (wall)", "a second of worker CPU", "worker CPU us each", "peak RSS MB", "aim"],
        (
            [
                row["what"], f"{row['items']:,}", f"{row['a_second']:,.0f}", f"{row['a_cpu_second']:,.0f}",
                f"{row['cpu_us']:.1f}", f"{row['rss_mb']:.0f}", row["aim"],
            ]
            for row in figures["rows"]
        ),
    )  # fmt: skip


def fleet(figures: Row) -> str:
    text = table(
        ["workers", "projects", "sent a second", "least share of what was possible", "most in 60 s", "refused", "questions to Redis a second"],
        (
            [
                str(row["workers"]), str(row["projects"]), f"{row['sent_a_second']:,}", f"{row['least_share']:.3f}",
                f"{row['most_a_minute']:.3f} of the quota", str(row["over_quota"]), f"{row['asks_a_second']:,}",
            ]
            for row in figures["quota"]
        ),
    )  # fmt: skip
    for row in figures["outage"]:
        ended = row["ended"]
        text += (
            f"\nAn outage of {row['outage_s']:g} s for all of {row['projects']} projects and {row['workers']} workers: in "
            f"the worst second after it {row['peak_second_after']:.2f} of the rate (before it {row['peak_second_before']:.2f}), in the worst minute "
            f"{row['most_a_minute']:.2f} of the quota; {row['rate_after']:.2f} of the rate from 5 s after it on; of "
            f"{sum(ended.values()):,} messages {ended.get('failed', 0):,} ended as `failed`.\n"
        )
    for row in figures["throttled"]:
        text += (
            f"\nA project that FCM grants half of what is configured, {row['workers']} workers: {row['accepted_share']:.2f} "
            f"of what it grants is accepted, {row['refused_share']:.2%} of what arrives is refused.\n"
        )
    rows = (
        [
            f"{row['messages']:,}", str(row["workers"]), str(row["projects"]), f"{row['outage_s']:g}",
            _duration(row["least_seconds"]), _duration(row["seconds"]), f"{row['ended'].get('failed', 0):,}",
        ]
        for row in figures["campaign"]
    )  # fmt: skip
    return (
        when(figures)
        + text
        + "\n"
        + table(["campaign", "workers", "projects", "outage, s", "at least", "took", "failed"], rows)
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def headline(figures: Row) -> str:
    """What sends, the cheapest first, for the project's README."""
    rows = [row for row in figures["rows"] if row["wire"] != "queue"]
    rows.sort(key=lambda row: row["cpu_us"])
    return when(figures) + table(
        ["what", "wire", "CPU us/message", "msg/s"],
        (
            [
                f"**{row['name']}**" if row["name"].startswith("worker") else row["name"], row["wire"],
                f"{row['cpu_us']:,.0f}", f"{row['msg_per_s']:,.0f}",
            ]
            for row in rows
        ),
    )  # fmt: skip


def draw() -> None:
    """All plots of which there are figures."""
    PLOTS.mkdir(exist_ok=True)
    for name, (source, plot) in PICTURES.items():
        figures = results.load(source)
        if figures is not None:
            (PLOTS / f"{name}.svg").write_text(plot(figures))


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
    for row in figures["rows"]:
        if row["lane"] == "normal":
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
        "all of it down for 120 s": _mean(figures["outage"][0]["use"]),
        "granted half of it": _mean(figures["throttled"][0]["use"]),
    }
    return svg.lines("What arrives at FCM (simulated, means of 5 s)", "seconds", "share of the rate", series)


def _mean(each_second: list[float], seconds: int = 5) -> list[tuple[float, float]]:
    spans = (each_second[at : at + seconds] for at in range(0, len(each_second) - seconds + 1, seconds))
    return [(at * seconds, sum(span) / seconds) for at, span in enumerate(spans)]


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
TABLES: dict[str, tuple[str, Callable[[Row], str]]] = {
    "pipeline": ("pipeline", pipeline),
    "ratios": ("pipeline", ratios),
    "latency": ("latency", latency),
    "memory": ("memory", memory),
    "peers": ("peers", peers),
    "producer": ("producer", producer),
    "tokens": ("tokens", producer),
    "wires": ("wires", wires),
    "fleet": ("fleet", fleet),
    "headline": ("peers", headline),
}


BESIDE: dict[str, tuple[str, ...]] = {
    "ratios": ("backlog",),
    "latency": ("latency",),
    "peers": ("cpu", "throughput"),
    "fleet": ("quota", "outage"),
    "headline": ("cpu",),
}
"""Plots that stand below a table."""


def renewed(text: str, folder: str) -> str:
    """A README with its tables made anew; those without figures stay as they are.

    Args:
        text: of the README.
        folder: of the plots, seen from there.
    """

    def replace(found: re.Match[str]) -> str:
        name = found[1]
        source, made = TABLES[name]
        figures = results.load(source)
        if figures is None:
            return found[0]
        plots = "".join(f"\n![{plot}]({folder}/{plot}.svg)\n" for plot in BESIDE.get(name, ()))
        return f"<!-- bench: {name} -->\n{made(figures)}{plots}<!-- end -->"

    return re.sub(r"<!-- bench: (\w+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)


def main() -> None:
    draw()
    for path, folder in ((HERE / "README.md", "plots"), (HERE.parent / "README.md", "benchmarks/plots")):
        path.write_text(renewed(path.read_text(), folder))


if __name__ == "__main__":
    main()
