"""When a lost connection is opened again: soon at first, then ever later, until one has held for a while."""

from __future__ import annotations

FIRST_S = 1.0
MOST_S = 40.0
"""Steps (XMPP wire rules, section 6): 1 s, doubling. Half as much again is chance, so that no wait is above a minute."""

STABLE_S = 30.0
"""A connection that held for so long shows that the trouble is over."""


class Reconnect:
    """Counts the failures of one endpoint; all times are of one clock, in seconds.

    A hundred connections that are lost at once are one failure: only what was opened after the last one counts.
    """

    __slots__ = ("_failed_at", "_failures", "_not_before")

    def __init__(self) -> None:
        self._failures = 0
        self._failed_at = float("-inf")
        self._not_before = float("-inf")

    def failed(self, now: float, chance: float) -> None:
        """An attempt to connect has failed.

        Args:
            now: when.
            chance: uniform in [0, 1).
        """
        step = min(MOST_S, FIRST_S * 2 ** min(self._failures, 16))
        self._failures += 1
        self._failed_at = now
        self._not_before = now + step * (1.0 + chance / 2)

    def lost(self, opened_at: float, now: float, chance: float) -> None:
        """A connection has ended that was not told to.

        Args:
            opened_at: when it was opened.
            now: when it was lost.
            chance: uniform in [0, 1).
        """
        if opened_at <= self._failed_at:
            return
        if now - opened_at >= STABLE_S:
            self._failures = 0
        self.failed(now, chance)

    def held(self, opened_at: float, now: float) -> None:
        """A connection is still open."""
        if now - opened_at >= STABLE_S:
            self._failures = 0

    def wait(self, now: float) -> float:
        """Seconds until the next attempt may be made."""
        return max(0.0, self._not_before - now)
