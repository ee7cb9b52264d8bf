"""How many requests of a project may be on the wire: additive increase, multiplicative decrease.

The limit starts at its most (the circuit ramps a project up, not this), is halved when the project is told "too
fast" on a broad front (`health`), and grows by one with every round of as many successes as it allows requests. So
several workers on one project find their shares of what FCM grants without talking to each other.
"""

from __future__ import annotations

HIGH_TENTH = 10
"""One request in so many is kept for the high lane."""

HALVING_WINDOW = 10.0
"""Seconds after a halving in which there is no other: the answers that caused it are still coming in."""


class Concurrency:
    """The requests of one project on one transport.

    Attributes:
        most: the configured limit.
        limit: the limit now, from 1 to `most`.
        running: requests on the wire.
    """

    def __init__(self, most: int, halving_window: float = HALVING_WINDOW) -> None:
        self.most = most
        self.limit = most
        self.running = 0
        self._halving_window = halving_window
        self._halved_at: float | None = None
        self._successes = 0

    def free(self, *, high: bool) -> int:
        """Requests that may be started now; only the high lane may use the last tenth."""
        limit = self.limit if high else self.limit - self.limit // HIGH_TENTH
        return max(0, limit - self.running)

    def start(self, requests: int = 1) -> None:
        """Book requests that go out."""
        self.running += requests

    def finish(self, requests: int = 1) -> None:
        """Book requests that came back, in whatever way."""
        self.running -= requests

    def succeeded(self, requests: int = 1) -> None:
        """Learn of requests that were answered and not throttled."""
        if self.limit >= self.most:
            return
        self._successes += requests
        while self._successes >= self.limit and self.limit < self.most:
            self._successes -= self.limit
            self.limit += 1
        if self.limit >= self.most:
            self._successes = 0

    def congested(self, now: float) -> bool:
        """Halve the limit, at most once in a window; whether this did."""
        if self._halved_at is not None and now - self._halved_at < self._halving_window:
            return False
        self._halved_at = now
        self._successes = 0
        self.limit = max(1, self.limit // 2)
        return True
