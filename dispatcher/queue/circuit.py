"""Pausing a whole project, for all replicas: open, half-open with one probe, ramp."""

from __future__ import annotations

import msgspec

from dispatcher.queue.access import Access


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
        raise NotImplementedError

    async def claim_probe(self, project: str, ttl: float = 90.0) -> bool:
        """Be the one who probes a project whose pause is over; `grant` then lets one batch of this worker pass."""
        raise NotImplementedError

    async def close(self, project: str) -> bool:
        """The probe succeeded: go on, ramping up over 60 s. Returns whether there was a pause to end."""
        raise NotImplementedError
