"""Taking entries out of the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import uniform
from time import monotonic
from typing import Any

from dispatcher.errors import QueueError
from dispatcher.model import Stream
from dispatcher.queue.access import Access
from dispatcher.queue.connection import MAX_BLOCK_MS, Arg, Command
from dispatcher.queue.faults import is_missing_group
from dispatcher.queue.keys import GROUP
from dispatcher.queue.script import Script

_GROUP = Script("group")
_POLL = (0.005, 0.25)
"""Seconds between polls of an idle Cluster, first and last: a blocking read over slots is refused there."""

Entry = tuple[str, list[bytes]]
"""(entry id, [field, value, field, value, ...])."""


class Reading(Access):
    """Reads of the work streams, each counted as a delivery to this consumer."""

    _pause_s = _POLL[0]
    """Between the polls of an idle Cluster."""

    async def read(self, project: str, stream: Stream, count: int) -> list[Entry]:
        """Take up to `count` new entries of one lane without waiting; creates the group at 0 if it is missing.

        Raises:
            QueueUnavailable: whether anything was taken is then unknown: reconcile (`pending_mine`).
        """
        command = self._read_command(project, stream, count)
        try:
            reply = await self.server.call(*command)
        except QueueError as error:
            if not is_missing_group(error):
                raise
            await self.create_group(project, stream)
            reply = await self.server.call(*command)
        return entries(reply[0][1]) if reply else []

    async def create_group(self, project: str, stream: Stream) -> None:
        """Create the stream and its group at 0 if they are missing; works on a full Redis."""
        await self.server.eval(_GROUP, (self.keys.stream(project, stream),), (GROUP,))

    def _read_command(self, project: str, stream: Stream, count: int) -> Command:
        key = self.keys.stream(project, stream)
        return ("XREADGROUP", "GROUP", GROUP, self.consumer, "COUNT", count, "STREAMS", key, ">")

    async def wait(
        self, lanes: Sequence[tuple[str, Stream]], count: int, block_ms: int
    ) -> list[tuple[str, Stream, list[Entry]]]:
        """Wait for entries in any of these (project, stream) lanes, on a connection of its own.

        Let it run out instead of cancelling it: a cancelled read leaves its entries pending here.

        Args:
            lanes: where to look; all are waited on at once.
            count: at most so many entries *per lane*.
            block_ms: how long; 1 to 10,000.

        Returns:
            The lanes that had something; empty when time ran out.

        Raises:
            QueueUnavailable: as for `read`.
        """
        if self.server.cluster:
            return await self._poll(lanes, count, block_ms)
        block_ms = min(max(block_ms, 1), MAX_BLOCK_MS)  # BLOCK 0 would be for ever
        keys = {self.keys.stream(project, stream): (project, stream) for project, stream in lanes}
        command: list[Arg] = ["XREADGROUP", "GROUP", GROUP, self.consumer, "COUNT", count, "BLOCK", block_ms]
        command += ["STREAMS", *keys, *(">" for _ in keys)]
        key = next(iter(keys))
        try:
            reply = await self.server.block(key, *command)
        except QueueError as error:
            if not is_missing_group(error):
                raise
            # One missing group fails the whole read, and the error is not to be trusted to name all of them.
            for project, stream in lanes:
                await self.create_group(project, stream)
            reply = await self.server.block(key, *command)
        return [(*keys[found[0].decode()], entries(found[1])) for found in reply or ()]

    async def _poll(
        self, lanes: Sequence[tuple[str, Stream]], count: int, block_ms: int
    ) -> list[tuple[str, Stream, list[Entry]]]:
        deadline = monotonic() + block_ms / 1000
        failures: dict[tuple[str, Stream], QueueError] = {}
        while True:
            taken = []
            # One server's failure keeps nobody from what the others have.
            asked = [lane for lane in lanes if lane not in failures]
            commands = [self._read_command(project, stream, count) for project, stream in asked]
            for (project, stream), reply in zip(asked, await self.server.pipeline(commands), strict=True):
                if isinstance(reply, QueueError):
                    if is_missing_group(reply):
                        await self.create_group(project, stream)
                    else:
                        failures[project, stream] = reply
                elif reply:
                    taken.append((project, stream, entries(reply[0][1])))
            if taken:
                self._pause_s = _POLL[0]
                return taken
            left = deadline - monotonic()
            if left <= 0 or len(failures) == len(lanes):
                for failure in failures.values():
                    raise failure
                return taken
            # Carried from one wait to the next: what has long been idle is asked four times a second.
            await asyncio.sleep(min(left, self._pause_s * uniform(0.5, 1.0)))  # noqa: S311 - spread, no secret
            self._pause_s = min(self._pause_s * 2, _POLL[1])


def entries(reply: list[Any]) -> list[Entry]:
    """Entries of a raw reply: [[id, [field, value, ...]], ...]."""
    return [(entry_id.decode(), fields) for entry_id, fields in reply]
