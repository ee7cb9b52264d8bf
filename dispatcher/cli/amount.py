"""Numbers of things, for people."""

from __future__ import annotations

from collections.abc import Mapping


def amount(number: int, noun: str, many: str = "") -> str:
    """A number with its noun: `1 job`, `1,200 jobs`.

    Args:
        number: how many.
        noun: of one.
        many: of several, if it is not the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def amounts(counts: Mapping[str, int]) -> str:
    """How many of each: `1,200 blank, 1 repeated`."""
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())
