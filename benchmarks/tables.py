"""Tables and plots from the figures under results/: into this folder's README, the project's, and plots/.

python benchmarks/tables.py
python benchmarks/tables.py --quick                # of quick runs: printed, plots into build/bench/
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aims
import plots
import results

HERE = Path(__file__).parent
PLOTS = HERE / "plots"
READMES = {HERE / "README.md": "plots", HERE.parent / "README.md": "benchmarks/plots"}
"""Whose tables are made, and where plots are, seen from there."""
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
    return table(aims.HEAD, aims.of_workers(figures))


def peer_ratios(figures: Row) -> str:
    return table(aims.HEAD, aims.beside_peers(figures))


def latency(figures: Row) -> str:
    return when(figures) + table(
        [
            "wire", "lane", "messages/s", "server, ms", "waiting in bulk", "sent of it a second", "p50 ms", "p99 ms",
            "p99.9 ms", "aim for p99", "met", "generator behind, ms",
        ],
        (
            [
                row["wire"], row["lane"], f"{row['rate']:,}", f"{row['server_ms']:g}", _given(row, "bulk", "{:,}"),
                _given(row, "bulk_a_second", "{:,}"), f"{row['p50']:g}", f"{row['p99']:g}", f"{row['p99.9']:g}",
                f"{row['limit_ms']:g}", "yes" if row["p99"] <= row["limit_ms"] else "no",
                f"{row['generator_behind_ms']:g}",
            ]
            for row in figures["rows"]
        ),
    )  # fmt: skip


def memory(figures: Row) -> str:
    limit = figures["limit_mb"]
    above = sum(row["peak_mb"] >= limit for row in figures["rows"])
    worst = max(figures["rows"], key=lambda row: row["peak_mb"])
    crowd = worst.get("projects", 1)
    over = f"{crowd} projects" if crowd > 1 else "one project"
    text = (
        f"Largest peak: {worst['peak_mb']} MB (`{worst['wire']}`, {worst['server']}, {over}, {worst['kind']}). Aim: less than {limit} MB everywhere; met in {len(figures['rows']) - above} of "
        f"{len(figures['rows'])} cases.\n\n"
    )
    return when(figures) + text + table(
        [
            "wire", "server answers", "projects", "jobs", "jobs waiting", "messages settled or put aside", "idle MB",
            "peak MB", f"less than {limit}",
        ],
        (
            [
                row["wire"], row["server"], str(row.get("projects", 1)), row["kind"], f"{row['jobs']:,}",
                f"{row['messages_gone']:,}", str(row["idle_mb"]), str(row["peak_mb"]),
                "yes" if row["peak_mb"] < limit else "no",
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
            f"{row['most_a_minute']:.2f} of the quota; {row['rate_after']:.2f} of the rate from 5 s after it on. Four and a "
            f"half minutes after it {ended['accepted']:,} messages were accepted, {ended.get('failed', 0):,} had failed, and "
            f"{row['waiting']:,} waited for a retry.\n"
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


def codec(figures: Row) -> str:
    messages = table(
        ["message", "bytes", "check us", "whole job us", "body us", "body of a retry us"],
        (
            [
                row["what"], f"{row['bytes']:,}", *(
                    _given(row, figure, "{:.2f}") for figure in ("check_us", "job_us", "body_us", "late_us")
                ),
            ]
            for row in figures["messages"]
        ),
    )  # fmt: skip
    wholes = table(
        ["what", "bytes", "us"],
        ([row["what"], f"{row['bytes']:,}", f"{row['us']:.2f}"] for row in figures["wholes"]),
    )
    average = f"The check of the first five, on average: {figures['average_check_us']:.2f} us.\n"
    return f"{when(figures)}{messages}\n{average}\n{wholes}"


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


TABLES: dict[str, tuple[str, Callable[[Row], str]]] = {
    "pipeline": ("pipeline", pipeline),
    "ratios": ("pipeline", ratios),
    "latency": ("latency", latency),
    "memory": ("memory", memory),
    "peers": ("peers", peers),
    "peer_ratios": ("peers", peer_ratios),
    "producer": ("producer", producer),
    "tokens": ("tokens", producer),
    "wires": ("wires", wires),
    "codec": ("codec", codec),
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


def show() -> None:
    """Print the tables of the last quick runs, and draw their plots beside their figures."""
    for name, (source, made) in TABLES.items():
        figures = results.load(source, quick=True)
        if figures is not None:
            print(f"\n{name}\n\n{made(figures)}")
    plots.draw(results.QUICK_FOLDER, quick=True)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--quick", action="store_true", help="print those of the last quick runs; write no README"
    )
    if options.parse_args().quick:
        show()
        return
    plots.draw(PLOTS)
    for path, folder in READMES.items():
        path.write_text(renewed(path.read_text(), folder))


if __name__ == "__main__":
    main()
