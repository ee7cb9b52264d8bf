"""The shape all duties share: rounds, with a rest between them, whatever happens in one."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import DispatcherError
from dispatcher.pipeline.cancellation import cancelled
from dispatcher.pipeline.project import Project


class Duty(ABC):
    """A background duty.

    Args:
        rest_s: seconds between two rounds; each rest is up to a fifth shorter, so that replicas drift apart.
        log: the worker's.
    """

    def __init__(self, rest_s: float, log: FilteringBoundLogger) -> None:
        self._rest_s = rest_s
        self._log = log
        self._failing = False

    async def run(self) -> None:
        """Rounds until cancelled."""
        while not cancelled():
            rest = self._rest_s
            try:
                asked = await self.round()
            except DispatcherError as error:
                if not self._failing:
                    self._failing = True
                    self._log.warning("duty_failed", duty=type(self).__name__, error=str(error))
            else:
                self._failing = False
                if asked is not None:
                    rest = min(rest, asked)
            await asyncio.sleep(rest * random.uniform(0.8, 1.0))  # noqa: S311 - spreading, not secrecy

    async def for_each(self, projects: Iterable[Project], do: Callable[[Project], Awaitable[object]]) -> None:
        """Do it for one project after the other; where one's server is away, the others have their turn.

        Raises:
            DispatcherError: the first failure, when all have had it.
        """
        failure: DispatcherError | None = None
        for project in list(projects):
            try:
                await do(project)
            except DispatcherError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    @abstractmethod
    async def round(self) -> float | None:
        """Do it once.

        Returns:
            Seconds until it should be done again, if that is sooner than `rest_s`.

        Raises:
            DispatcherError: it could not be done; the next round tries again.
        """
