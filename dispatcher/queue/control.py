"""What all replicas must know of a project within a second: pauses and verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.queue.access import Access


class Control(msgspec.Struct, gc=False):
    """The control hash of a project, read.

    Attributes:
        pause_until: end of the project's pause (Redis clock, seconds); 0: none. In the past: half-open.
        pause_reason: for people.
        ramping: it is coming back from a pause.
        verdicts: shared findings that have not run out, e.g. {"transport": "v1"}.
        now: Redis clock, seconds.
    """

    pause_until: float = 0.0
    pause_reason: str = ""
    ramping: bool = False
    verdicts: dict[str, str] = {}
    now: float = 0.0

    @property
    def paused(self) -> bool:
        """Whether nothing may be read or sent now."""
        return self.pause_until > self.now


class ControlTable(Access):
    """The control hashes."""

    async def controls(self, projects: Sequence[str]) -> dict[str, Control]:
        """Read the control hash of each project, in one round trip."""
        raise NotImplementedError

    async def set_verdict(self, project: str, name: str, value: str, ttl_s: float) -> None:
        """Share a finding with all replicas for a time; works on a full Redis."""
        raise NotImplementedError
