"""Dead letters: which projects have them, putting them back, removing them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.errors import QueueError, QueueMisconfigured
from dispatcher.model import LANES, Lane
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Arg
from dispatcher.queue.script import Script

_REPLAY = Script("replay")
_PAGE = 200
"""Letters a call: a script holds up everybody else."""


class Replay(msgspec.Struct, gc=False):
    """One letter to put back.

    Attributes:
        entry_id: its place.
        lane: where it goes.
        own: how many of its values (names and values) are the job's own.
        added: fields to add, flat; they replace the job's own of the same name.
    """

    entry_id: str
    lane: Lane
    own: int
    added: list[bytes]


class Letters(Access):
    """What changes the stream of dead letters; listing it is in records.py."""

    async def projects_with_dead(self) -> list[str]:
        """Every project of the namespace that has dead letters, served or not."""
        head, tail = f"{self.keys.namespace}:{{", "}:dead"
        names = {key.decode(errors="replace") for key in await self.server.scan(f"{head}*{tail}")}
        found = []
        # A stream whose last entry was removed is still there.
        lengths = await self.server.pipeline([("XLEN", name) for name in names])
        for name, length in zip(names, lengths, strict=True):
            if isinstance(length, QueueMisconfigured):
                continue  # something else under a name that looks like ours
            if isinstance(length, QueueError):
                raise length
            if length:
                found.append(name[len(head) : -len(tail)])
        return sorted(found)

    async def replay_letters(self, project: str, letters: Sequence[Replay]) -> list[str]:
        """Put letters back into their lanes, each in one step with its removal.

        Returns:
            The new entry ids, in order; "" for a letter that somebody has replayed or removed meanwhile.

        Raises:
            QueueFull: Redis refuses; of more than 200 letters, the first ones may be back.
            QueueUnavailable: likewise; trying again cannot send one twice.
        """
        names = (self.keys.dead(project), *(self.keys.stream(project, lane) for lane in LANES))
        ids: list[str] = []
        for start in range(0, len(letters), _PAGE):
            page = letters[start : start + _PAGE]
            args: list[Arg] = [len(page)]
            for letter in page:
                place = LANES.index(letter.lane) + 2
                args += (letter.entry_id, place, letter.own, len(letter.added), *letter.added)
            ids += [reply.decode() for reply in await self.server.eval(_REPLAY, names, args)]
        return ids

    async def remove_letters(self, project: str, ids: Sequence[str]) -> int:
        """Remove letters for good; returns how many were still there."""
        removed = 0
        for start in range(0, len(ids), _PAGE):
            removed += await self.server.call("XDEL", self.keys.dead(project), *ids[start : start + _PAGE])
        return removed
