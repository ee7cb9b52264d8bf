"""One line a scenario, for the reader of the test's output and, in the file FAULT_REPORT names, for the README."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def tell(scenario: str, seed: int, took_s: float, found: dict[str, Any]) -> None:
    """Print what a scenario came to."""
    line = json.dumps({"scenario": scenario, "seed": seed, "took_s": round(took_s, 1), **found})
    print(f"\n{line}")
    if path := os.environ.get("FAULT_REPORT"):
        with Path(path).open("a") as file:
            file.write(line + "\n")
