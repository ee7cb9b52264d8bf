"""The retry budget: retries at most a fifth of first attempts, so that a struggling server is not sent more.

Counted in a sliding window of buckets. A retry that does not fit is not refused but planned for the first bucket
that has room again; planned ones count in the bucket they are planned for, so the share holds whenever they are
sent. Fed once per batch: all retries of a batch get the same extra delay, and the last batch into a bucket may
overfill it; what it took too much, later buckets lack.
"""

from __future__ import annotations

from collections import deque

SHARE = 0.2
"""Retries per first attempt."""

QUIET = 10
"""Retries that are always allowed in a window: a project that sends three messages a minute may retry one."""

WINDOW = 60.0
"""Seconds."""

BUCKETS = 12

FARTHEST = 3600.0
"""Longest extra delay, as for any step of our own."""


class RetryBudget:
    """The budget of one project in one worker."""

    def __init__(self, share: float = SHARE, quiet: int = QUIET, window: float = WINDOW) -> None:
        self._share = share
        self._quiet = quiet
        self._width = window / BUCKETS
        self._first: deque[list[int]] = deque()
        self._retries: deque[list[int]] = deque()

    def sent(self, now: float, first_attempts: int) -> None:
        """Book a batch's first attempts; retries among its messages were booked when they were planned."""
        _add(self._first, self._bucket(now), first_attempts)

    def delay(self, now: float, chance: float = 0.0) -> float:
        """Seconds that retries decided now have to wait beyond their backoff; 0: the budget has room.

        Args:
            now: loop clock.
            chance: uniform in [0, 1), another one for each batch: the buckets of all workers of a host begin at once.
        """
        bucket = self._bucket(now)
        free = self._next_free(bucket)
        return 0.0 if free == bucket else min(FARTHEST, (free + chance) * self._width - now)

    def plan(self, now: float, retries: int) -> None:
        """Book retries that were given `delay(now)`; one call a batch."""
        if retries:
            _add(self._retries, self._next_free(self._bucket(now)), retries)

    def allowed(self, now: float) -> bool:
        """Whether a retry decided now needs no extra delay."""
        return self.delay(now) == 0.0

    def _bucket(self, now: float) -> int:
        return int(now // self._width)

    def _next_free(self, bucket: int) -> int:
        """The first bucket, from this one on, at which the window ending there has room."""
        oldest = bucket - BUCKETS
        for counts in (self._first, self._retries):
            while counts and counts[0][0] <= oldest:
                counts.popleft()
        allowance = max(self._quiet, self._share * sum(count for _, count in self._first))
        # Never before what is planned already: then every window that is checked ends at its last planned bucket,
        # and no earlier window changes.
        free = max(bucket, self._retries[-1][0]) if self._retries else bucket
        held = sum(count for at, count in self._retries if at > free - BUCKETS)
        for at, count in self._retries:
            if held < allowance:
                break
            if at > free - BUCKETS:
                # Room comes when this one has left the window.
                free = at + BUCKETS
                held -= count
        return free


def _add(counts: deque[list[int]], bucket: int, count: int) -> None:
    if counts and counts[-1][0] >= bucket:
        counts[-1][1] += count
    else:
        counts.append([bucket, count])
