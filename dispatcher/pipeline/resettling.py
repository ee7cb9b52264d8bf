"""Settling again what Redis has forgotten (`recall.py` says when that happens)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from dispatcher.model import Stream
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.settling import Settling
from dispatcher.queue.reading import Entry
from dispatcher.queue.store import Queue


class Resettling:
    """Meets every entry that comes in.

    Args:
        queue: this worker's view of Redis.
        settling: remembers what was settled, and repeats a call until it is answered.
        log: the worker's.
    """

    def __init__(self, queue: Queue, settling: Settling, log: FilteringBoundLogger) -> None:
        self._queue = queue
        self._settling = settling
        self._log = log

    async def rest(self, project: Project, stream: Stream, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Settle those that were settled here, in a time of doubt (they were counted then); returns the others."""
        recall = self._settling.recall
        if not recall.in_doubt(asyncio.get_running_loop().time()):
            return entries
        items, rest = recall.split(project.id, stream, entries)
        if items:
            self._log.warning("settled_again", project=project.id, stream=stream, jobs=len(items))
            await self._settling.insist(
                lambda: self._queue.settle(project.id, stream, project.lease.epoch, items)
            )
            ids = [item.entry_id for item in items]
            project.held[stream].difference_update(ids)
            for watcher in project.watchers:
                watcher.settled(stream, ids)
        return rest
