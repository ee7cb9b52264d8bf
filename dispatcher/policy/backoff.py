"""How long to wait before the same message is sent again.

`delay = floor + uniform(0, floor)`: never below the floor, and every message and target rolls its own dice, so that
what failed together does not come back together.
"""

from __future__ import annotations

UNAVAILABLE_BASE = 1.0
"""First wait after a 5xx or a network error: 1, 2, 4, 8, 16, 32 s as in FCM's guide to sending at scale."""

THROTTLED_BASE = 60.0
"""First wait after a 429 that does not say how long: FCM asks for at least a minute, then doubling."""

HELD_BASE = 60.0
"""First wait of a message whose platform refuses the project's key: somebody has to mend that by hand."""

CAP = 3600.0
"""Longest step of our own. What an answer asks for is honoured in full, however long."""

_LAST_DOUBLING = 40  # 2**40 s is past any cap; more would only overflow the float


def floor(n: int, base: float, retry_after: float | None, cap: float = CAP) -> float:
    """The least wait, in seconds, before the next send.

    Args:
        n: which wait of its kind this is, from 1.
        base: the first step, in seconds.
        retry_after: what the answer asked for, in seconds; it replaces the step, even when it is 0 (a date in
            the past). None: nothing.
        cap: longest step, in seconds.
    """
    if retry_after is not None:
        return max(0.0, retry_after)
    return float(min(cap, base * 2 ** min(max(n - 1, 0), _LAST_DOUBLING)))


def delay(least: float, chance: float) -> float:
    """The wait, in seconds: the floor and up to as much again.

    Args:
        least: the floor, in seconds.
        chance: uniform in [0, 1), another one for every message.
    """
    return least + chance * least
