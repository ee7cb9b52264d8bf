"""The Makefile can be read: a merge that was left half done once broke every command of the README."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[
    0
].split()


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_how_to_make(target):
    run = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
