"""Looking for jobs wherever they wait: the lanes, what is due, and what waits for its time.

A search reads the whole backlog, a page at a time: some 300,000 jobs a second. It is for people, not for workers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import orjson

from dispatcher.model import STREAMS, Stream
from dispatcher.queue.access import Access
from dispatcher.queue.keys import GROUP
from dispatcher.queue.reading import entries

_PAGE = 1000


class Waiting(msgspec.Struct):
    """A job that has not ended.

    Attributes:
        stream: where it stands; None: in the delayed set.
        entry_id: its place there; of a delayed one the id of its origin if it has one, else "0-0".
        fields: name, value, name, value, ...
        due: of a delayed one, when (Redis clock, seconds); else 0.
        stop: name of the operator's stop that it waits for; "": none.
        held: it waits for a slot of its paused target.
    """

    stream: Stream | None
    entry_id: str
    fields: list[bytes]
    due: float = 0.0
    stop: str = ""
    held: bool = False


class Search(Access):
    """Searching."""

    async def search(self, project: str, needle: bytes = b"") -> AsyncIterator[Waiting]:
        """Jobs that hold these bytes in a field, or have them as their entry id; whoever asks must look closer.

        A job that moves meanwhile may be met twice or not at all.
        """
        for stream in STREAMS:
            after = "-"
            while reply := await self.server.call(
                "XRANGE", self.keys.stream(project, stream), after, "+", "COUNT", _PAGE
            ):
                page = entries(reply)
                after = f"({page[-1][0]}"
                for entry_id, fields in page:
                    if any(needle in value for value in fields) or entry_id.encode() == needle:
                        yield Waiting(stream, entry_id, fields)
        cursor = b"0"
        while True:
            command = ("HSCAN", self.keys.delayed_jobs(project), cursor, "COUNT", _PAGE)
            cursor, pairs = await self.server.call(*command)
            for number in range(0, len(pairs), 2):
                found = _delayed(pairs[number + 1])
                if found is not None and any(needle in value for value in found.fields):
                    score = await self.server.call("ZSCORE", self.keys.delayed(project), pairs[number])
                    if score is not None:  # promoted meanwhile
                        found.due = float(score) / 1000
                        yield found
            if cursor == b"0":
                return

    async def waiting_between(self, project: str, first: float, last: float, most: int) -> list[Waiting]:
        """Jobs that are due within a span, at most so many.

        Args:
            project: Firebase project id.
            first: Redis clock, seconds.
            last: likewise; both ends count.
            most: jobs at most.
        """
        key, span = self.keys.delayed(project), (round(first * 1000), round(last * 1000))
        found = await self.server.call("ZRANGEBYSCORE", key, *span, "WITHSCORES", "LIMIT", 0, most)
        members = found[::2]
        if not members:
            return []
        jobs = []
        texts = await self.server.call("HMGET", self.keys.delayed_jobs(project), *members)
        for text, score in zip(texts, found[1::2], strict=True):
            waiting = _delayed(text) if text is not None else None
            if waiting is not None:
                waiting.due = float(score) / 1000
                jobs.append(waiting)
        return jobs

    async def holder(self, project: str, stream: Stream, entry_id: str) -> str:
        """The worker that has read an entry and not settled it; "": nobody."""
        key = self.keys.stream(project, stream)
        if not await self.server.call("XLEN", key):
            return ""
        replies = await self.server.pipeline([("XPENDING", key, GROUP, entry_id, entry_id, 1)])
        pending = replies[0]
        return pending[0][1].decode() if isinstance(pending, list) and pending else ""


def _delayed(text: bytes) -> Waiting | None:
    """A job as the delayed set keeps it; None: it is no job of ours."""
    start = text.find(b"[")
    try:
        flat = [str(part).encode() for part in orjson.loads(text[start:])]
    except orjson.JSONDecodeError:
        return None
    state = dict(zip(flat[::2], flat[1::2], strict=False)).get(b"_state", b"")
    try:
        origin = str(orjson.loads(state)["id"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        origin = "0-0"
    mark = text[:1]
    stop = text[1:start].decode("utf-8", "replace") if mark == b"P" else ""
    return Waiting(None, origin, flat, stop=stop, held=mark == b"S")
