"""Simulated time: what is to happen, in order."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

START = 1_731_000_000.0
"""A Unix time like any other."""


class Clock:
    """Events by time; those of one time in the order in which they were asked for.

    Attributes:
        now: Unix seconds.
    """

    def __init__(self) -> None:
        self.now = START
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = count()

    def after(self, delay: float, call: Callable[..., None], *args: object) -> None:
        """Call it in so many seconds."""
        heappush(self._events, (self.now + delay, next(self._number), call, args))

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, to `until` seconds from the start or until it is done."""
        events, end = self._events, START + until
        while events and events[0][0] <= end and not done():
            self.now, _, call, args = heappop(events)
            call(*args)
        self.now = self.now if done() else end
