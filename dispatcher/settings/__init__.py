"""What an operator can set, and how it is read.

`model.py` is the one table of settings (name, type, default, meaning); `kinds.py` and `places.py` say what a value of each
type may look like; `sources.py` reads the environment and the TOML file and words the errors; `table.py`
prints the table for the README.
"""

from dispatcher.settings.model import ProjectSettings, Settings

__all__ = ["ProjectSettings", "Settings"]
