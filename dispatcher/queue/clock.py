"""The Redis clock as seen from here.

Times that are stored are Redis's own. Replies carry its TIME; between replies this estimate stands in.
"""

from __future__ import annotations

from time import monotonic

_MEMORY = 30.0
"""Seconds for which the best sample is kept: clocks drift some 50 us/s apart at most."""


class RedisClock:
    """An offset to the monotonic clock, taken from the reply that was quickest lately."""

    __slots__ = ("_best", "_offset", "_since")

    def __init__(self) -> None:
        self._offset = 0.0
        self._best = float("inf")
        self._since = float("-inf")

    @property
    def known(self) -> bool:
        """Whether any reply has come yet."""
        return self._since > float("-inf")

    def now(self) -> float:
        """Redis's Unix time, in seconds; before the first reply meaningless."""
        return monotonic() + self._offset

    def note(self, sent: float, redis_now: float) -> float:
        """Take a sample: the command left at `sent` (monotonic), Redis's clock said `redis_now`; returns it."""
        received = monotonic()
        trip = received - sent
        if trip <= self._best or received - self._since > _MEMORY:
            self._best = trip
            self._since = received
            self._offset = redis_now - (sent + received) / 2
        return redis_now
