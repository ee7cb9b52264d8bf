"""The project's quota, shared by all replicas, and the circuit that stands before it."""

from __future__ import annotations

from time import monotonic
from typing import Literal

import msgspec

from dispatcher.queue.access import Access
from dispatcher.queue.script import Script

PROBE_S = 90.0
"""How long a probe may take before another worker may try: longer than any request's timeout."""

_GRANT = Script("grant")

CircuitState = Literal["closed", "open", "probe", "ramp"]


class Grant(msgspec.Struct, gc=False):
    """Leave to send, or when to ask again.

    Attributes:
        granted: send, after `wait` seconds if that is not 0 (a batch larger than the burst is paid for in
            advance and must wait for its turn, without asking again). A grant is good for 0.5 s from then.
        wait: seconds; if not granted, until it is worth asking again.
        max_batch: the largest batch that this lane can be granted at once now, at least 1.
        circuit: `open`: the project is paused (until `open_until`), or another worker probes it; `probe`:
            this batch is the probe: `close` the circuit when it succeeds, `pause_project(probe=True)` when
            it fails; `ramp`: open again, at less than full rate.
        open_until: end of the pause (Redis clock, seconds); 0: none.
        paused_targets: whether any target is paused: 0, then nobody needs to ask `paused`.
        now: Redis clock, seconds.
    """

    granted: bool
    wait: float
    max_batch: int
    circuit: CircuitState
    open_until: float
    paused_targets: int
    now: float


class Quota(Access):
    """Grants."""

    async def grant(
        self, project: str, n: int, *, high: bool, per_minute: float, use: float = 0.9, burst_s: float = 0.5
    ) -> Grant:
        """Charge `n` messages to the project's bucket just before they are sent.

        Args:
            project: Firebase project id.
            n: messages, all or none.
            high: from the `high` lane; others leave a tenth of the burst to it.
            per_minute: the project's quota.
            use: share of it to use.
            burst_s: depth of the bucket, in seconds of the rate.
        """
        cost = 60e6 / (per_minute * use)
        args = (n, cost, burst_s * 1e6, int(high), self.consumer, round(PROBE_S * 1000))
        return await self._grant(self.keys.quota(project), project, args)

    async def grant_management(
        self, project: str, n: int, *, high: bool, per_second: float, burst_s: float = 0.5
    ) -> Grant:
        """The same for items of management jobs: a bucket of their own, and no circuit before it.

        Args:
            project: Firebase project id.
            n: items, all or none.
            high: from the `high` lane.
            per_second: the rate.
            burst_s: depth of the bucket, in seconds of the rate.
        """
        args = (n, 1e6 / per_second, burst_s * 1e6, int(high), self.consumer, 0)
        return await self._grant(self.keys.quota_management(project), project, args)

    async def _grant(self, bucket: str, project: str, args: tuple[float | str, ...]) -> Grant:
        names = (bucket, self.keys.control(project), self.keys.pauses(project))
        sent = monotonic()
        reply = await self.server.eval(_GRANT, names, args)
        granted, wait, largest, circuit, pause_end, paused, seconds, micros = reply
        now = self.server.clock.note(sent, int(seconds) + int(micros) / 1e6)
        return Grant(bool(granted), wait / 1e6, largest, circuit.decode(), pause_end / 1000, paused, now)
