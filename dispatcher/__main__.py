"""The command `dispatcher`, also as `python -m dispatcher`."""

from __future__ import annotations

import sys

from dispatcher.cli.app import run


def main() -> int:
    """Run the command line of this process; returns its exit code."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
