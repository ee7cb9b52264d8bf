"""Pausing a whole project, for all replicas: open, half-open with one probe, ramp."""

from __future__ import annotations

from time import monotonic

import msgspec

from dispatcher.queue.access import Access
from dispatcher.queue.quota import PROBE_S
from dispatcher.queue.script import Script

SHORTEST_S = 60.0
"""A project's pause is at least this long (quotas of FCM are per minute)."""
LONGEST_S = 3600.0
"""Doubling ends here; what a Retry-After asks for is kept whatever it is."""

_PAUSE = Script("pause")
_PROBE = Script("probe")
_CLOSE = Script("close")
_HASTEN = Script("hasten")
_REPROBE = Script("reprobe")


class ProjectPause(msgspec.Struct, gc=False):
    """A pause of a project.

    Attributes:
        until: its end (Redis clock, seconds).
        step: failed probes so far.
        now: Redis clock, seconds.
    """

    until: float
    step: int
    now: float


class Circuit(Access):
    """The circuit of a project; `Quota.grant` obeys it."""

    async def pause_project(
        self, project: str, seconds: float, reason: str, *, probe: bool = False
    ) -> ProjectPause:
        """Open the circuit for at least `seconds` and 60 s, doubled for each failed probe, at most an hour.

        Answers that were under way when it opened only prolong it to their own end; a failed probe doubles.

        Args:
            project: Firebase project id.
            seconds: what the answer asked for (Retry-After); 0: nothing.
            reason: for people.
            probe: the answer was to the probe.
        """
        args = (
            round(seconds * 1000),
            reason,
            int(probe),
            self.consumer,
            round(SHORTEST_S * 1000),
            round(LONGEST_S * 1000),
        )
        sent = monotonic()
        until, step, whole, micros = await self.server.eval(_PAUSE, (self.keys.control(project),), args)
        return ProjectPause(until / 1000, step, self.server.clock.note(sent, int(whole) + int(micros) / 1e6))

    async def claim_probe(self, project: str, ttl: float = PROBE_S) -> bool:
        """Be the one who probes a project whose pause is over; `grant` then lets one batch of this worker pass."""
        args = (self.consumer, round(ttl * 1000))
        return bool(await self.server.eval(_PROBE, (self.keys.control(project),), args))

    async def keep_probe(self, project: str, ttl: float = PROBE_S) -> bool:
        """The batch that was to be the probe was not sent: let the next one be it. Returns whether the claim is ours."""
        args = (self.consumer, round(ttl * 1000))
        return bool(await self.server.eval(_REPROBE, (self.keys.control(project),), args))

    async def hasten(self, project: str) -> bool:
        """What the project was paused for may be mended: probe now. Returns whether that shortened a pause."""
        return bool(await self.server.eval(_HASTEN, (self.keys.control(project),), ()))

    async def close(self, project: str) -> bool:
        """The probe succeeded: go on, ramping up over 60 s. Returns whether there was a pause to end."""
        return bool(await self.server.eval(_CLOSE, (self.keys.control(project),), ()))
