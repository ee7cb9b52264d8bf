"""Write what is made from something else: `make ops-files`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import chart_files
import dashboard
import rendering
from paths import CHART, DASHBOARD


def main() -> None:
    DASHBOARD.write_text(dashboard.text())
    for name, text in chart_files.files().items():
        (CHART / name).write_text(text)
    for name, text in rendering.golden().items():
        (rendering.GOLDEN / name).write_text(text)


if __name__ == "__main__":
    main()
