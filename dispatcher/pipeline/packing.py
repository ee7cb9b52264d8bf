"""Packing: sendable jobs into batches, and the timer for those that do not fill."""

from __future__ import annotations

import asyncio

from dispatcher.model import Job
from dispatcher.pipeline.project import Project


class Packing:
    """The timer of all packers of one worker.

    Args:
        projects: all projects served; the same dict for all stages.
    """

    def __init__(self, projects: dict[str, Project]) -> None:
        self._projects = projects
        # Loop clock; when the timer looks next, and what tells it to look sooner.
        self._looks_at = float("inf")
        self._sooner = asyncio.Event()

    def add(self, project: Project, jobs: list[Job], epoch: int) -> None:
        """Pack jobs of one read; full batches go on at once, the rest when it has lingered."""
        loop_now = asyncio.get_running_loop().time()
        project.enqueue(project.packer.add(jobs, loop_now, epoch))
        deadline = project.packer.next_deadline()
        if deadline is not None and deadline < self._looks_at:
            self._sooner.set()

    async def run(self) -> None:
        """Hand on what has lingered long enough; ends by being cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._sooner.clear()
            deadlines = [
                deadline
                for project in self._projects.values()
                if (deadline := project.packer.next_deadline()) is not None
            ]
            self._looks_at = min(deadlines, default=float("inf"))
            try:
                # Projects linger for different times: a later batch may be due sooner.
                async with asyncio.timeout_at(self._looks_at if deadlines else None):
                    await self._sooner.wait()
            except TimeoutError:
                self._hand_on(loop.time())

    def _hand_on(self, loop_now: float) -> None:
        # A frame of its own, lest it is kept while the next is awaited.
        for project in self._projects.values():
            if due := project.packer.due(loop_now):
                project.enqueue(due)
