"""What looked wrong in messages that are sent all the same, told to the operator: counted, and now and then a line.

One producer's slip is in every message it sends. So a batch costs one count for each kind, and a project gets one log
line a minute, which shows one job as the example.
"""

from __future__ import annotations

from collections import Counter

from structlog.typing import FilteringBoundLogger

from dispatcher.model import Job
from dispatcher.telemetry.metrics import Metrics

SAY_EVERY_S = 60.0


class Warned:
    """Keeps the sampling of all projects.

    Args:
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(self, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._metrics = metrics
        self._log = log
        self._said_at: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def saw(self, project: str, jobs: list[Job], now: float) -> None:
        """Take in the jobs of one read that have warnings.

        Args:
            project: whose they are.
            jobs: with warnings; those sent before were counted then.
            now: loop clock.
        """
        fresh = [job for job in jobs if not job.sends]
        if not fresh:
            return
        for code, count in Counter(caution.code for job in fresh for caution in job.warnings).items():
            self._metrics.message_warnings.of(project, code).inc(count)
        self._unsaid[project] += len(fresh)
        if now - self._said_at.get(project, float("-inf")) < SAY_EVERY_S:
            return
        example = fresh[0]
        self._log.warning(
            "message_looks_wrong",
            project=project,
            job=example.id,
            code=example.warnings[0].code,
            reason=example.warnings[0].reason,
            jobs=self._unsaid.pop(project),
        )
        self._said_at[project] = now
