"""How many requests of a project may be on the wire: additive increase, multiplicative decrease.

The limit starts at its most (the circuit ramps a project up, not this), is halved when the project is told "too
fast" on a broad front (`health`), and grows by one with every round of as many successes as it allows requests. So
several workers on one project find their shares of what FCM grants without talking to each other.

What all projects of a worker have on the wire together has a ceiling besides, where requests cost memory: connections.
"""

from __future__ import annotations

HIGH_TENTH = 10
"""One request in so many is kept for the high lane."""

HALVING_WINDOW = 10.0
"""Seconds after a halving in which there is no other: the answers that caused it are still coming in."""


EIGHT_NINTHS = 8, 9
"""Of what the others leave: alone a project gets nearly all, twenty get equal parts and leave next to nothing, and there is
always some for one that begins. Dynamic thresholds, as in switches that share a buffer (Choudhury and Hahne, 1998)."""

LEAST_SHARE = 40
"""One part in so many may be had by every project at once, even where others have taken the whole; less, where more
projects than that have requests on the wire."""


def share_of(left: int) -> int:
    """What one may have of what the others leave."""
    part, whole = EIGHT_NINTHS
    return left * part // whole


class Ceiling:
    """What all projects of a worker may have on the wire together, over one kind of connection.

    Attributes:
        most: requests; where many projects begin at once, up to twice as many, until the first of them have answers.
        running: requests on the wire.
        active: projects that have some.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.running = 0
        self.active = 0

    def fit(self, limit: int) -> None:
        """Be high enough for a project that may have so many requests on the wire, where it is alone."""
        part, whole = EIGHT_NINTHS
        self.most = max(self.most, -(-limit * whole // part))

    def share(self, running: int) -> int:
        """Requests that a project may have now that has this many."""
        least = self.most // max(LEAST_SHARE, self.active + 1)
        return max(1, least, share_of(self.most - (self.running - running)))


class Concurrency:
    """The requests of one project on one transport.

    Args:
        most: the configured limit.
        halving_window: seconds after a halving without another.
        ceiling: of all projects on this transport; None: it has none.

    Attributes:
        most: the configured limit.
        limit: the limit now, from 1 to `most`.
        running: requests on the wire.
    """

    def __init__(
        self, most: int, halving_window: float = HALVING_WINDOW, ceiling: Ceiling | None = None
    ) -> None:
        self.most = most
        self.limit = most
        self.running = 0
        self._halving_window = halving_window
        self._ceiling = ceiling
        self._halved_at: float | None = None
        self._successes = 0

    @property
    def reach(self) -> int:
        """Requests that the project may have: its limit, or its share under the ceiling."""
        return self.limit if self._ceiling is None else min(self.limit, self._ceiling.share(self.running))

    def free(self, *, high: bool) -> int:
        """Requests that may be started now; only the high lane may use the last tenth."""
        most = self.reach
        return max(0, (most if high else most - most // HIGH_TENTH) - self.running)

    def start(self, requests: int = 1) -> None:
        """Book requests that go out."""
        self._book(requests)

    def finish(self, requests: int = 1) -> None:
        """Book requests that came back, in whatever way."""
        self._book(-requests)

    def _book(self, requests: int) -> None:
        was_active = self.running > 0
        self.running += requests
        if self._ceiling is not None:
            self._ceiling.running += requests
            self._ceiling.active += (self.running > 0) - was_active

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
        self.limit = max(1, self.reach // 2)
        return True
