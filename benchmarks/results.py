"""Where figures are kept: one JSON file a benchmark under results/, from which tables and plots are made anew.

Those of a quick run are no figures to show: they go to build/bench/ instead.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
QUICK_FOLDER = FOLDER.parents[1] / "build" / "bench"


def folder(*, quick: bool) -> Path:
    """Where the figures of a whole run are, or of a quick one."""
    return QUICK_FOLDER if quick else FOLDER


def save(name: str, figures: dict[str, Any], *, quick: bool) -> None:
    """Write a benchmark's figures, with what they were measured on."""
    file = folder(quick=quick) / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"measured": _circumstances(quick), **figures}, indent=1)
    file.write_text(text + "\n")


def load(name: str, *, quick: bool = False) -> dict[str, Any] | None:
    """A benchmark's figures; None: it has not been run."""
    file = folder(quick=quick) / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def _circumstances(quick: bool) -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "quick": quick,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[1], 1),
        "python": platform.python_version(),
        "redis": _version(_said("redis-server", "--version")),
        "nginx": _version(_said("nginx", "-v")),
        "node": _said("node", "--version").lstrip("v"),
    }


def _said(*command: str) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent, check=False)
    except FileNotFoundError:
        return ""
    return (run.stdout or run.stderr).strip()


def _version(text: str) -> str:
    return next((word.rpartition("=")[2].rpartition("/")[2] for word in text.split() if "." in word), "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
