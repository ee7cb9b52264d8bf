"""Lua scripts as values: their text and the name Redis knows it by."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files

_FOLDER = files("dispatcher.queue") / "scripts"


class Script:
    """One file of `scripts/`.

    Attributes:
        name: file name without `.lua`.
        source: its text.
        sha: what EVALSHA calls it by.
    """

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
