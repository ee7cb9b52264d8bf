"""What the scenarios came to: a line each for the reader of the test's output, and the table of the README.

Each scenario's figures go with pytest's own report of it, so that they arrive whichever process of xdist ran it.
At the end of the run they are printed, and written to the file that FAULT_REPORT names, the run itself first.
`python tests/e2e/faults/harness/report.py FILE README` puts the table of such a file between the README's marks.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PROPERTY = "fault scenario"
BEGIN, END = "<!-- faults: made by `make fault-report` -->", "<!-- end -->"


def line_of(scenario: str, seed: int, took_s: float, found: dict[str, Any]) -> str:
    """What a scenario came to."""
    return json.dumps({"scenario": scenario, "seed": seed, "took_s": round(took_s, 1), **found})


def gather(reports: Iterable[Any]) -> list[dict[str, Any]]:
    """The figures that came with pytest's reports, by scenario."""
    rows = [
        json.loads(value)
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    return sorted(rows, key=lambda row: row["scenario"])


def write(path: Path, run: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Keep a run: one line of JSON for it, then one a scenario."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in [run, *rows]))


def table(rows: list[dict[str, Any]]) -> str:
    """The table; every row passed all checks, so that it lost nothing."""
    lines = [
        "| scenario | messages | faults | sends | duplicates | bound | first reclaim (lease) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        name = row["scenario"].removeprefix("test_").replace("_", " ")
        took = f"{row['recovery_s']:.1f} s ({row['lease_s']:.1f} s)" if "recovery_s" in row else ""
        lines.append(
            f"| {name} | {row['messages']:,} | {row['faults']} | {row['sends']:,} "
            f"| {row['duplicates']:,} | {row['bound']:,} | {took} |"
        )
    whole = {
        key: sum(row[key] for row in rows) for key in ("messages", "faults", "sends", "duplicates", "bound")
    }
    slowest = max((row["recovery_s"] for row in rows if "recovery_s" in row), default=0.0)
    lines.append(
        f"| **{len(rows)} together** | {whole['messages']:,} | {whole['faults']} | {whole['sends']:,} "
        f"| {whole['duplicates']:,} | {whole['bound']:,} | at most {slowest:.1f} s |"
    )
    return "\n".join(lines)


def beside(rows: list[dict[str, Any]]) -> str:
    """What single scenarios measured beyond the table, one line each."""
    return "\n".join(
        f"* {row['scenario'].removeprefix('test_').replace('_', ' ')}: {row['measured']}"
        for row in rows
        if "measured" in row
    )


def describe(run: dict[str, Any]) -> str:
    """A run in one sentence."""
    took = int(run["took_s"])
    return (
        f"FAULT_SEED={run['seed']}: {run['passed']} passed, {run['failed']} failed in {took // 60} min {took % 60} s "
        f"on {run['processors']} processors, load average {run['load']:.1f} at the end, {run['redis']}."
    )


def rewrite(readme: Path, source: Path) -> None:
    """Put the table of a run between the marks."""
    run, *rows = map(json.loads, source.read_text().splitlines())
    text = readme.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise SystemExit(f"{readme} has no marks {BEGIN} ... {END}")
    middle = "\n\n".join([describe(run), table(rows), "Measured beside it:", beside(rows)])
    readme.write_text(f"{before}{BEGIN}\n{middle}\n{END}{after}")


def redis_version() -> str:
    """Of the server that the scenarios start."""
    import subprocess  # noqa: PLC0415 - only at the end of a run

    from dispatcher.queue.embedded import find_servers  # noqa: PLC0415 - not in every environment of the tests

    servers = find_servers()
    if not servers:
        return "no Redis"
    said = subprocess.run([str(servers[0]), "--version"], capture_output=True, text=True, check=False).stdout
    return " ".join(said.split()[:3])


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


if __name__ == "__main__":
    rewrite(Path(sys.argv[2]), Path(sys.argv[1]))
