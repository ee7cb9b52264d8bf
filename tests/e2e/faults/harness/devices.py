"""The devices of a project over XMPP: what they sent, what was acknowledged to the server, what stands in Redis."""

from __future__ import annotations

import itertools

from harness.jobs import PROJECT
from harness.stage import Stage


class Devices:
    """Messages that go the other way.

    Args:
        stage: whose emulator they reach, and whose Redis they are to be kept in.

    Attributes:
        sent: ids of their messages so far.
    """

    def __init__(self, stage: Stage) -> None:
        self.sent: list[str] = []
        self._stage = stage
        self._numbers = itertools.count()

    async def say(self, count: int) -> None:
        """Send messages, each from a device of its own; the server passes on what it has a connection for."""
        new = [f"u-{number}" for number in itertools.islice(self._numbers, count)]
        upstream = [{"from": f"from-{name}", "message_id": name, "data": {"id": name}} for name in new]
        await self._stage.emulator.put("xmpp", project=PROJECT, upstream=upstream)
        self.sent += new

    async def acknowledged(self) -> int:
        """How many the server takes for kept."""
        return int((await self._stage.emulator.get("xmpp"))["counts"].get("acked", 0))

    async def kept(self) -> list[str]:
        """Ids of those that stand in the upstream stream."""
        entries = await self._stage.redis.client.xrange(self._stage.keys.upstream(PROJECT))
        return [fields["message_id"] for _, fields in entries]

    async def served(self) -> bool:
        """Whether every message has been acknowledged."""
        return await self.acknowledged() == len(self.sent)
