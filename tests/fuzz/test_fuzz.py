"""A slice of `make fuzz`, other inputs than its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def fuzz(*options):
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "fuzz.py"), "--processes", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_ten_thousand_wrong_inputs_find_nothing():
    done = fuzz("--inputs", "10000", "--seed", "20261121")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "10000 inputs, 0 findings, seed 20261121"


@pytest.mark.parametrize("target", ["message", "v1 answer", "http2"])
def test_the_same_seed_gives_the_same_inputs(target):
    first, second = (fuzz("--inputs", "500", "--target", target).stdout.splitlines()[1:] for _ in range(2))
    assert first == second
    assert len(first) == 2
