"""Writes the JSON Schema files anew, from the code (`make docs`). No command of `dispatcher`: a tool for its developers.

python -m dispatcher.cli.schemas docs/schemas
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dispatcher.protocol.json_schema import SCHEMAS


def rendered() -> dict[str, str]:
    """Each file's text, by name."""
    return {name: json.dumps(make(), indent=2, ensure_ascii=False) + "\n" for name, make in SCHEMAS.items()}


def main() -> None:
    """Write them into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
