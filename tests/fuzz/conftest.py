"""The scripts here find each other beside themselves; so do the tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
