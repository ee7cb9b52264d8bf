"""The project's quota, shared by all replicas, and the circuit that stands before it."""

from __future__ import annotations

from typing import Literal

import msgspec

from dispatcher.queue.access import Access

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
        raise NotImplementedError
