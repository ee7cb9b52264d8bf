"""FCM, simulated: quotas by the minute, latency, outages; it remembers when how much came."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import NamedTuple

from dispatcher.model import Fate, SendError

TENTH = 10
"""Arrivals are counted in tenths of a second."""


class Trouble(NamedTuple):
    """Something that goes wrong for a time, of all projects or some.

    Attributes:
        start, end: seconds from the start.
        status: 503 for whole requests.
        projects: of whom; (): of all.
    """

    start: float
    end: float
    status: int = 503
    projects: tuple[str, ...] = ()


class Service:
    """The server.

    Args:
        chance: dice for latencies.
        started: Unix seconds.
        per_minute: messages a minute that it grants each project, whatever the workers believe.
        troubles: what goes wrong.
        latency_s: median; spread as a log-normal distribution.

    Attributes:
        arrivals: messages by project and tenth of a second, refused ones too.
        accepted: messages by project.
        over_quota: messages refused for lack of quota.
    """

    def __init__(
        self, chance: Random, started: float, per_minute: int, troubles: tuple[Trouble, ...] = (),
        latency_s: float = 0.08,
    ) -> None:  # fmt: skip
        self._chance = chance
        self._started = started
        self._per_minute = per_minute
        self._troubles = troubles
        self._latency_s = latency_s
        self._minutes: Counter[tuple[str, int]] = Counter()
        self.arrivals: dict[str, Counter[int]] = {}
        self.accepted: Counter[str] = Counter()
        self.over_quota = 0

    def latency(self) -> float:
        """Seconds from request to answer."""
        return self._latency_s * math.exp(self._chance.gauss(0.0, 0.4))

    def receive(self, project: str, messages: int, now: float) -> SendError | None:
        """A request arrives; None: all accepted."""
        passed = now - self._started
        self.arrivals.setdefault(project, Counter())[int(passed * TENTH)] += messages
        for trouble in self._troubles:
            if trouble.start <= passed < trouble.end and project in (trouble.projects or (project,)):
                return SendError(
                    Fate.ANSWERED, trouble.status, rpc_status="UNAVAILABLE", whole_request=True, is_json=True
                )
        minute = int(passed // 60)
        if self._minutes[project, minute] + messages > self._per_minute:
            self.over_quota += messages
            return SendError(
                Fate.ANSWERED, 429, "QUOTA_EXCEEDED", rpc_status="RESOURCE_EXHAUSTED",
                retry_after=math.ceil(60 - passed % 60), whole_request=True, is_json=True,
            )  # fmt: skip
        self._minutes[project, minute] += messages
        self.accepted[project] += messages
        return None

    def most_in(self, project: str, seconds: float, since: float = 0.0, until: float = float("inf")) -> int:
        """The most messages that came within any window of so many seconds, to a tenth, from `since` to `until`."""
        counts = self.arrivals.get(project, Counter())
        if not counts:
            return 0
        width, first = round(seconds * TENTH), int(since * TENTH)
        most = held = 0
        for tenth in range(first, int(min(max(counts) + 1, until * TENTH))):
            held += counts[tenth] - (counts[tenth - width] if tenth - width >= first else 0)
            most = max(most, held)
        return most

    def between(self, project: str, start: float, end: float) -> int:
        """Messages that came from `start` to `end`, seconds from the start."""
        counts = self.arrivals.get(project, Counter())
        return sum(counts[tenth] for tenth in range(int(start * TENTH), int(end * TENTH)))
