"""How long this machine kept a stage waiting: what a limit in seconds is lengthened by, instead of being a guess.

Two things are looked at. The harness's own lateness: its proxies stand between all the others, so what it misses
they miss too. And the time for which each process was ready to run and had no processor, which Linux counts
(`/proc/<pid>/schedstat`; where there is none, only the first). Of a moment the worst is lost, not the sum: the
others are waiting for it. A process that was stopped or that sleeps is not waiting in this sense: a fault never
lengthens the limit it is held against.
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from pathlib import Path

TICK_S = 0.05
UNAVOIDABLE_S = 0.005
"""Of a tick: that late everybody is."""


class Stalls:
    """Looks twenty times a second, for as long as `run` runs.

    Args:
        pids: the processes to watch, as they are now.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._waited: dict[int, float] = {}
        self._times: list[float] = [time.monotonic()]
        self._sums: list[float] = [0.0]

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            stalled = max(0.0, now - due - UNAVOIDABLE_S)
            for pid in self._pids():
                waited = waited_s(pid)
                stalled = max(stalled, waited - self._waited.get(pid, waited))
                self._waited[pid] = waited
            self._sums.append(self._sums[-1] + min(stalled, now - self._times[-1]))
            self._times.append(now)

    def between(self, start: float, end: float) -> float:
        """Seconds lost from `start` to `end` (monotonic)."""
        first = max(0, bisect_right(self._times, start) - 1)
        last = min(len(self._times) - 1, bisect_left(self._times, end))
        return self._sums[last] - self._sums[first]

    def after(self, start: float, seconds: float) -> float:
        """`seconds` from `start` on, and whatever was lost in them and in what they are lengthened by."""
        whole = seconds
        for _ in range(20):
            longer = seconds + self.between(start, start + whole)
            if longer <= whole:
                break
            whole = longer
        return whole


def short_lease_s() -> float:
    """The lease where somebody has to lose one; two seconds, unless so much else runs here that nobody could hold it."""
    return 2.0 * slowness()


def slowness() -> float:
    """1 on a machine that has no more to run than these scenarios; up to 5 where that much more runs beside them."""
    own = 3 * (os.cpu_count() or 1)
    return min(5.0, max(1.0, os.getloadavg()[0] / own))


def waited_s(pid: int) -> float:
    """Seconds for which a process's main thread was ready to run and did not."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
