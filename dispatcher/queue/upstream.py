"""Keeping what devices send and servers report of messages."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from dispatcher.protocol.xmpp import Incoming
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Arg
from dispatcher.queue.script import Script

_RECORD = Script("record_upstream")
_PAGE = 500
"""Messages a call."""


class Upstream(Access):
    """The upstream stream."""

    async def record_upstream(self, project: str, incoming: Sequence[Incoming]) -> int:
        """Keep these, each once however often it comes; returns how many were new.

        Idempotent: after QueueUnavailable it may be repeated.

        Raises:
            QueueFull: Redis refuses; of more than one call's messages, the first may be in.
        """
        keys = (self.keys.upstream(project), self.keys.upstream_seen(project))
        new = 0
        for start in range(0, len(incoming), _PAGE):
            args: list[Arg] = []
            for one in incoming[start : start + _PAGE]:
                kind = "receipt" if one.receipt else "upstream"
                args += (_digest(one), kind, one.sender, one.message_id, one.category, one.data)
            new += await self.server.eval(_RECORD, keys, args)
        return new

    async def forget_upstream(self, project: str, retention_s: float, max_entries: int) -> None:
        """Forget what was seen before the retention, or stands before so many others."""
        key = self.keys.upstream_seen(project)
        now_ms = int(await self.server.time() * 1000)
        await self.server.call("ZREMRANGEBYSCORE", key, "-inf", now_ms - round(retention_s * 1000))
        await self.server.call("ZREMRANGEBYRANK", key, 0, -max_entries - 1)


def _digest(one: Incoming) -> bytes:
    """What a message is known again by: 128 bits, for tokens are long."""
    digest = blake2b(one.sender.encode(), digest_size=16)
    digest.update(b"\0" + one.message_id.encode())
    return digest.digest()
