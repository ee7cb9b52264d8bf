"""Durations, for people."""

from __future__ import annotations


def span(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.{1 if size == 1 else 0}f} {unit}"
    return f"{seconds / 86_400:.0f} d"
