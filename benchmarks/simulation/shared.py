"""A project's quota and circuit in Redis, in memory: the rules of grant.lua, pause.lua, probe.lua and close.lua.

The clock is an argument, in microseconds, as Redis has it. A test holds these against the scripts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

PROBE_MS = 90_000
SHORTEST_MS, LONGEST_MS = 60_000, 3_600_000
RAMP_MS = 60_000


class Reply(NamedTuple):
    """As `queue.quota.Grant`; times in microseconds, `pause_end` in milliseconds."""

    granted: bool
    wait: int
    largest: int
    circuit: str
    pause_end: int


class Shared:
    """What all workers of a project share.

    Attributes:
        quota: (time until which all grants are paid for, lead of the last one), us; None: no such key.
        until: end of the pause, ms; None: none.
        step: failed probes.
        probe: (end ms, used, holder) of the claim.
        ramp: when the ramp began, ms.
    """

    def __init__(self) -> None:
        self.quota: tuple[float, int] | None = None
        self.until: int | None = None
        self.step = 0
        self.probe: tuple[int, bool, str] | None = None
        self.ramp: int | None = None

    def grant(self, now: int, n: int, *, cost: float, depth: float, high: bool, consumer: str) -> Reply:
        """Charge `n` messages.

        Args:
            now: us.
            n: all or none.
            cost: us of the bucket that one takes.
            depth: of the bucket, us.
            high: lane high; others leave a tenth of the depth.
            consumer: who asks.
        """
        now_ms = now // 1000
        circuit, pause_end = "closed", 0
        if self.until is not None:
            pause_end = self.until
            if now_ms < pause_end:
                return Reply(False, (pause_end - now_ms) * 1000, 1, "open", pause_end)
            if self.probe is not None:
                end, used, holder = self.probe
                if now_ms < end and (used or holder != consumer):
                    return Reply(False, min(1_000_000, (end - now_ms) * 1000), 1, "open", pause_end)
            circuit = "probe"
        elif self.ramp is not None and 0 <= now_ms - self.ramp < RAMP_MS:
            circuit = "ramp"
            cost /= max(0.1, (now_ms - self.ramp) / RAMP_MS)
        whole = depth
        depth = max(depth if high else depth * 0.9, cost)
        largest = max(1, math.floor(depth / cost + 1e-9))
        if self.quota is not None:
            tat, lead = self.quota
            tat = max(min(tat, now + max(1_000_000, lead)), now)
        else:
            tat = now + max(depth, whole)
            self._store(tat, now)
        after = tat + n * cost
        wait = after - depth - now
        if n <= largest:
            if wait > 0:
                return Reply(False, math.ceil(wait), largest, circuit, pause_end)
        elif tat - depth - now > 0:
            return Reply(False, math.ceil(tat - depth - now), largest, circuit, pause_end)
        self._store(after, now)
        if circuit == "probe":
            self.probe = (now_ms + PROBE_MS, True, consumer)
        return Reply(True, math.ceil(max(0.0, wait)), largest, circuit, pause_end)

    def _store(self, tat: float, now: int) -> None:
        self.quota = (round(tat, 3), max(0, math.ceil(tat - now)))

    def pause(self, now: int, asked_ms: int, *, probe: bool, consumer: str) -> int:
        """Open the circuit, or keep it open; returns its end, ms."""
        now_ms = now // 1000
        until = self.until or 0
        if now_ms < until:
            self.until = max(until, now_ms + asked_ms)
            return self.until
        if self.until is None:
            self.step = 0
        elif probe and (self.probe is None or self.probe[2] == consumer):
            self.step += 1
        self.until = now_ms + max(asked_ms, min(LONGEST_MS, SHORTEST_MS * 2**self.step))
        self.probe = self.ramp = None
        return self.until

    def claim(self, now: int, consumer: str) -> bool:
        """Claim the probe of a pause that is over."""
        now_ms = now // 1000
        if self.until is None or now_ms < self.until:
            return False
        if self.probe is not None and now_ms < self.probe[0]:
            return not self.probe[1] and self.probe[2] == consumer
        self.probe = (now_ms + PROBE_MS, False, consumer)
        return True

    def close(self, now: int) -> bool:
        """End a pause after a good probe; the ramp begins."""
        now_ms = now // 1000
        if self.until is None or now_ms < self.until:
            return False
        self.until = self.probe = None
        self.step = 0
        self.ramp = now_ms
        return True
