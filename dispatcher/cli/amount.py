"""Numbers of things, for people."""

from __future__ import annotations


def amount(number: int, noun: str, many: str = "") -> str:
    """A number with its noun: `1 job`, `1,200 jobs`.

    Args:
        number: how many.
        noun: of one.
        many: of several, if it is not the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"
