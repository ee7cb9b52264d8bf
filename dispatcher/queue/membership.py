"""Reading the outcome stream as a member of a consumer group: each entry goes to one member, and stays until it acknowledges it."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.errors import QueueError
from dispatcher.queue.access import Access
from dispatcher.queue.connection import MAX_BLOCK_MS, Arg
from dispatcher.queue.faults import is_missing_group
from dispatcher.queue.reading import Entry, entries
from dispatcher.queue.script import Script

_GROUP = Script("group")
_FORGET = Script("forget")


class Membership(Access):
    """A member's calls; its name is `consumer`."""

    async def join(self, project: str, group: str, start: str = "0") -> None:
        """Create the group if it is missing: it begins at `start` (an entry id, `0` or `$`)."""
        await self.server.eval(_GROUP, (self.keys.outcomes(project),), (group, start))

    async def read_as_member(
        self, project: str, group: str, count: int, *, block_ms: int = 0, after: str = ">"
    ) -> list[Entry]:
        """Take entries.

        Args:
            project: Firebase project id.
            group: the group.
            count: at most so many.
            block_ms: how long to wait for the first; 0: not at all.
            after: `>`: new ones; an id: those behind it that this member has taken before and not acknowledged.

        Returns:
            The entries; those that were trimmed meanwhile have no fields.
        """
        key = self.keys.outcomes(project)
        command: list[Arg] = ["XREADGROUP", "GROUP", group, self.consumer, "COUNT", count]
        if block_ms:
            command += ["BLOCK", min(block_ms, MAX_BLOCK_MS)]
        command += ["STREAMS", key, after]
        for again in (True, False):
            try:
                reply = await (self.server.block(key, *command) if block_ms else self.server.call(*command))
                break
            except QueueError as error:
                # The stream was deleted, and the group with it: what is written since is all new.
                if not again or not is_missing_group(error):
                    raise
                await self.join(project, group)
        return [(entry_id, fields or []) for entry_id, fields in entries(reply[0][1])] if reply else []

    async def idle_entries(self, project: str, group: str, idle_s: float, count: int) -> list[str]:
        """Ids of entries that some member took at least so long ago and has not acknowledged, oldest first."""
        idle_ms = round(idle_s * 1000)
        key = self.keys.outcomes(project)
        reply = await self.server.call("XPENDING", key, group, "IDLE", idle_ms, "-", "+", count)
        return [row[0].decode() for row in reply]

    async def take_over(self, project: str, group: str, ids: Sequence[str], idle_s: float) -> list[Entry]:
        """Make these entries this member's, those that are idle still; what was trimmed meanwhile is dropped."""
        key = self.keys.outcomes(project)
        reply = await self.server.call("XCLAIM", key, group, self.consumer, round(idle_s * 1000), *ids)
        # Before 7.0 an entry that is no more comes as nil, and stays pending.
        taken = entries([entry for entry in reply if entry is not None and entry[1] is not None])
        if len(taken) < len(ids):
            there = {entry_id for entry_id, _ in taken}
            gone = [
                entry_id
                for entry_id in ids
                if entry_id not in there and not await self.server.call("XRANGE", key, entry_id, entry_id)
            ]
            await self.acknowledge(project, group, gone)
        return taken

    async def acknowledge(self, project: str, group: str, ids: Sequence[str]) -> None:
        """Say that these entries are dealt with."""
        if ids:
            await self.server.call("XACK", self.keys.outcomes(project), group, *ids)

    async def resign(self, project: str, group: str) -> None:
        """Remove this member from the group, if it has nothing unacknowledged."""
        names = (self.keys.outcomes(project),)
        await self.server.eval(_FORGET, names, (group, self.consumer))
