"""A secret that has a file to itself: a static access token, a legacy server key."""

from __future__ import annotations

import re
from pathlib import Path

from dispatcher.errors import CredentialsError

MOST_BYTES = 16 << 10
"""Far above any token; what is larger is some other file."""

_WORD = re.compile(r"[\x21-\x7e]+")
"""What may stand in a header as it is."""


class SecretFile:
    """The content of a file, without the white space around it; shows itself nowhere.

    Args:
        path: the file.

    Raises:
        CredentialsError: it cannot be read, or holds something else than one word.
    """

    __slots__ = ("_value", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._value = _read(path)

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r})"

    @property
    def value(self) -> str:
        """The secret as it was last read."""
        return self._value

    def reread(self) -> bool:
        """Read the file again; returns whether the secret is another one.

        Raises:
            CredentialsError: as at first; the old secret stays.
        """
        value = _read(self.path)
        changed = value != self._value
        self._value = value
        return changed


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read ({error.strerror})") from None
    text = content.decode("latin-1").strip()
    if len(content) > MOST_BYTES or not _WORD.fullmatch(text):
        # Not a word of what was found: it may be a secret with a slip in it.
        raise CredentialsError(f"{path}: must hold one token or key and nothing else")
    return text
