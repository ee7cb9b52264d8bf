"""Shares of bad answers, from which a project's trouble is told from a target's.

Fed once per batch with counts, before the batch is settled: the very batch that shows a swapped credential
must not be the one that wipes 500 tokens. One instance for each project, in each worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import msgspec

from dispatcher.model import ErrorCode

THROTTLED_SHARE = 0.2
THROTTLED_TARGETS = 5
THROTTLED_WINDOW = 10.0
"""At least this share of 429s in so many seconds, from at least so many targets: it is not the targets' doing."""

MISMATCHED_SHARE = 0.2
MISMATCHED_ANSWERS = 500
"""More than this share of SENDER_ID_MISMATCH in at least so many answers: it is our credential that is foreign."""

MISMATCHED_DOUBT = 5
"""So many of them, with the same share of fewer answers, are doubtful: a single one is just a foreign token."""

PLATFORM_SHARE = 0.9
PLATFORM_ANSWERS = 100
"""More than this share of THIRD_PARTY_AUTH_ERROR in at least so many answers: every platform's key is bad."""

FAULT_WINDOW = 60.0
"""Seconds over which both are counted."""

_BUCKETS = 10


class Answers(msgspec.Struct, gc=False):
    """What the answers of one batch were.

    Attributes:
        total: messages with an answer, good or bad; sends whose fate is unknown say nothing.
        throttled: 429s.
        mismatched: SENDER_ID_MISMATCH.
        platform: THIRD_PARTY_AUTH_ERROR.
        throttled_targets: keys of the targets that were throttled (`Target.key`), or enough of them.
    """

    total: int
    throttled: int = 0
    mismatched: int = 0
    platform: int = 0
    throttled_targets: Collection[str] = ()


class Findings(msgspec.Struct, gc=False):
    """What the shares say now.

    Attributes:
        congested: halve the project's concurrency.
        pausing: codes to be taken as the project's fault (`settle.decide`): pause it, end no message with them.
        doubtful: codes whose share is as high, of too few answers to be sure: such messages wait for more.
    """

    congested: bool
    pausing: frozenset[ErrorCode]
    doubtful: frozenset[ErrorCode] = frozenset()


_NOTHING = frozenset[ErrorCode]()
_MISMATCH = frozenset({ErrorCode.MISMATCHED_CREDENTIAL})


class Health:
    """Sliding windows over one project's answers."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, Answers]] = deque()
        self._minute: deque[tuple[int, Answers]] = deque()

    def feed(self, now: float, answers: Answers) -> Findings:
        """Book a batch's answers and say what follows, for this batch already.

        Args:
            now: any steady clock, in seconds.
            answers: their counts.
        """
        recent = _book(self._recent, now, THROTTLED_WINDOW, answers)
        minute = _book(self._minute, now, FAULT_WINDOW, answers)
        pausing = set()
        doubtful = _NOTHING
        if minute.mismatched > MISMATCHED_SHARE * minute.total:
            if minute.total >= MISMATCHED_ANSWERS:
                pausing.add(ErrorCode.MISMATCHED_CREDENTIAL)
            elif minute.mismatched >= MISMATCHED_DOUBT:
                # The first handful after a swapped credential is no less innocent than the five hundredth.
                doubtful = _MISMATCH
        if minute.total >= PLATFORM_ANSWERS and minute.platform > PLATFORM_SHARE * minute.total:
            pausing.add(ErrorCode.THIRD_PARTY_AUTH_ERROR)
        return Findings(
            congested=recent.throttled > 0
            and recent.throttled >= THROTTLED_SHARE * recent.total
            and len(recent.throttled_targets) >= THROTTLED_TARGETS,
            pausing=frozenset(pausing) if pausing else _NOTHING,
            doubtful=doubtful,
        )

    def reset(self) -> None:
        """Forget: the project was paused, and what it answers afterwards is judged by itself."""
        self._recent.clear()
        self._minute.clear()


def _book(window: deque[tuple[int, Answers]], now: float, seconds: float, answers: Answers) -> Answers:
    """Add to the window's newest bucket, drop the old ones, and return the sums."""
    bucket = int(now // (seconds / _BUCKETS))
    while window and window[0][0] <= bucket - _BUCKETS:
        window.popleft()
    if window and window[-1][0] >= bucket:
        held = window[-1][1]
    else:
        held = Answers(0)
        window.append((bucket, held))
    held.total += answers.total
    held.throttled += answers.throttled
    held.mismatched += answers.mismatched
    held.platform += answers.platform
    if answers.throttled_targets:
        held.throttled_targets = _some({*held.throttled_targets, *answers.throttled_targets})
    sums = Answers(0)
    targets: set[str] = set()
    for _, part in window:
        sums.total += part.total
        sums.throttled += part.throttled
        sums.mismatched += part.mismatched
        sums.platform += part.platform
        targets.update(part.throttled_targets)
    sums.throttled_targets = targets
    return sums


def _some(targets: set[str]) -> list[str]:
    """As many targets as are ever asked for: more would only cost memory."""
    return [target for _, target in zip(range(THROTTLED_TARGETS), targets, strict=False)]
