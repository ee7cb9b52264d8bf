"""Where things stand, and which programs are used."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = ROOT / "helm" / "dispatcher"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "dispatcher.json"
RUNBOOK = DEPLOY / "runbook.md"
ALERTS = PROMETHEUS / "alerts.yml"
RECORDING = PROMETHEUS / "recording.yml"
TOOLS = Path(os.environ.get("OPS_TOOLS", ROOT / ".venv-ops" / "bin"))


def program(name: str) -> str:
    """The path of a program: of the tools' own environment, else of PATH; a test without it fails in CI."""
    found = shutil.which(name, path=os.pathsep.join([str(TOOLS), os.environ.get("PATH", "")]))
    if found is None:
        message = f"{name} is not installed; `make ops` says where it comes from"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def run(name: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; the caller looks at the result."""
    command = [program(name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


def must(name: str, *arguments: object, **options: Any) -> str:
    """Run a program that has to succeed; returns what it printed."""
    done = run(name, *arguments, **options)
    assert done.returncode == 0, f"{name} {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
    return done.stdout
