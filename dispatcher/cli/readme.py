"""Prints the README's tables anew, from the code (`make docs`). No command of `dispatcher`: a tool for its developers.

    python -m dispatcher.cli.readme README.md

A table stands between two comments, `<!-- table: job -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dispatcher.policy import table as errors
from dispatcher.protocol import contract
from dispatcher.queue import rights
from dispatcher.settings import table as settings
from dispatcher.telemetry import metrics

TABLES = {
    "keys": contract.keys_table,
    "job": contract.job_table,
    "outcome": contract.outcome_table,
    "status": contract.status_table,
    "upstream": contract.upstream_table,
    "operations": contract.operations_table,
    "errors": errors.markdown,
    "settings": settings.markdown,
    "rights": rights.markdown,
    "metrics": metrics.markdown,
}

_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def renewed(text: str) -> str:
    """The README with every table as the code has it now.

    Raises:
        KeyError: a place names a table that there is not.
    """
    return _PLACE.sub(lambda place: f"{place[1]}{TABLES[place[2]]()}{place[3]}", text)


def main() -> None:
    """Rewrite the file named on the command line."""
    file = Path(sys.argv[1])
    file.write_text(renewed(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
