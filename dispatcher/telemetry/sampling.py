"""Log lines that come in floods: the first few of each kind, then a count of the rest.

A storm of refused batches or lost leases is one fact; thousands of lines about it cost CPU, disk and the
reader's patience, and the metrics count them anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import structlog
from structlog.typing import EventDict, WrappedLogger

BURST = 5
"""Lines of one kind within a window; then silence until its end."""

WINDOW_S = 60.0

MOST_KINDS = 1000
"""Kinds remembered: a kind is an event and a project, and there may be thousands of projects."""


class Sampler:
    """A structlog processor that lets few lines of a kind through; the next one says how many it kept back.

    Args:
        burst: lines of one kind (event, project) in a window.
        window_s: its length in seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self, burst: int = BURST, window_s: float = WINDOW_S, clock: Callable[[], float] = monotonic
    ) -> None:
        self._burst = burst
        self._window_s = window_s
        self._clock = clock
        # Kind -> [start of its window, lines in it].
        self._kinds: dict[tuple[object, object], list[float]] = {}

    def __call__(self, _logger: WrappedLogger | None, _method: str, event: EventDict) -> EventDict:
        """Let `event` pass, or drop it.

        Raises:
            structlog.DropEvent: there were enough of its kind.
        """
        if event.get("crashes"):
            return event  # what is taken over from the dead is named before it is touched: it may kill again
        kind = (event.get("event"), event.get("project"))
        now = self._clock()
        seen = self._kinds.get(kind)
        if seen is None or now - seen[0] >= self._window_s:
            if seen is None and len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            self._kinds[kind] = [now, 1]
            if seen is not None and seen[1] > self._burst:
                event["suppressed"] = int(seen[1]) - self._burst
            return event
        seen[1] += 1
        if seen[1] > self._burst:
            raise structlog.DropEvent
        return event
