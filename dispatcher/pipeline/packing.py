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
        self._opened = asyncio.Event()

    def add(self, project: Project, jobs: list[Job], epoch: int) -> None:
        """Pack jobs of one read; full batches go on at once, the rest when it has lingered."""
        loop_now = asyncio.get_running_loop().time()
        project.enqueue(project.packer.add(jobs, loop_now, epoch))
        self._opened.set()

    async def run(self) -> None:
        """Hand on what has lingered long enough; ends by being cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            deadlines = [
                deadline
                for project in self._projects.values()
                if (deadline := project.packer.next_deadline()) is not None
            ]
            if not deadlines:
                self._opened.clear()
                await self._opened.wait()
                continue
            # What is opened meanwhile lingers longer than what is open: no need to look again before.
            await asyncio.sleep(max(0.0, min(deadlines) - loop.time()))
            for project in self._projects.values():
                if due := project.packer.due(loop.time()):
                    project.enqueue(due)
