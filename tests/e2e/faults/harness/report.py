"""One line a scenario, for the reader of the test's output and, in the file FAULT_REPORT names, for the README.

`PYTHONPATH=tests/e2e/faults python -m harness.report FILE` prints the README's table of such a file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def tell(scenario: str, seed: int, took_s: float, found: dict[str, Any]) -> None:
    """Print what a scenario came to."""
    line = json.dumps({"scenario": scenario, "seed": seed, "took_s": round(took_s, 1), **found})
    print(f"\n{line}")
    if path := os.environ.get("FAULT_REPORT"):
        with Path(path).open("a") as file:
            file.write(line + "\n")


def markdown(path: Path) -> str:
    """The table; every row passed all checks, so that it lost nothing."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [
        "| scenario | messages | faults | sends | duplicates | bound | first reclaim |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in sorted(rows, key=lambda row: row["scenario"]):
        name = row["scenario"].removeprefix("test_").replace("_", " ")
        took = f"{row['recovery_s']:.1f} s" if "recovery_s" in row else ""
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


if __name__ == "__main__":
    print(markdown(Path(sys.argv[1])))
