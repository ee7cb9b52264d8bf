"""The pause of a whole project: closed, open, half-open with one small probe, ramp, closed.

The state is shared by all replicas and changed by scripts on the Redis side; these functions are the same rules in
the open, for the tests to hold the scripts against. All times are on the Redis clock.

    closed --pause--> open --time--> probe --claim--> open (to others) --close--> ramp --time--> closed
                       ^               |                 |                          |
                       +---------------+---- pause, twice as long -----------------+
"""

from __future__ import annotations

from typing import Literal

import msgspec

OPEN_BASE = 60.0
"""Shortest first pause, in seconds; each failed probe doubles it."""

OPEN_CAP = 3600.0
"""Longest pause of our own; a longer Retry-After is honoured."""

PROBE_LEASE = 90.0
"""Seconds after which a probe nobody reported on may be claimed by another: the longest request timeout, and room."""

PROBE_MESSAGES = 5
"""Messages in a probe, at most."""

RAMP = 60.0
"""Seconds from the first good probe to the full rate: FCM asks for at least a minute, after a pause too."""

RAMP_LEAST = 0.02
"""Where the ramp begins: a rate of nothing would never learn anything."""

Phase = Literal["closed", "open", "probe", "ramp"]
"""`probe`: nobody sends until one replica has claimed the probe."""


class Circuit(msgspec.Struct, frozen=True):
    """The pause of one project.

    Attributes:
        until: end of the pause; 0: none.
        step: how often it was doubled.
        probe: until when the probe is claimed; 0: it is not.
        ramp: when the ramp began; 0: never.
        reason: the code that opened it.
    """

    until: float = 0.0
    step: int = 0
    probe: float = 0.0
    ramp: float = 0.0
    reason: str = ""


CLOSED = Circuit()


def phase(circuit: Circuit, now: float) -> Phase:
    """What the project may do now."""
    if circuit.until:
        return "open" if now < max(circuit.until, circuit.probe) else "probe"
    return "ramp" if circuit.ramp and now < circuit.ramp + RAMP else "closed"


def open_for(step: int, retry_after: float | None) -> float:
    """Seconds that a project pauses.

    Args:
        step: failed probes so far.
        retry_after: what the answer asked for, in seconds.
    """
    return max(retry_after or 0.0, min(OPEN_CAP, OPEN_BASE * 2.0 ** min(step, 30)))


def pause(circuit: Circuit, now: float, retry_after: float | None, reason: str) -> Circuit:
    """Open it, or keep it open.

    While it is open already, this is an answer to a request that was on the wire before: only what it asks for
    counts, or stragglers would draw the pause out. After the pause and during the ramp it is a failed probe.
    """
    if circuit.until and now < circuit.until:
        return msgspec.structs.replace(circuit, until=max(circuit.until, now + (retry_after or 0.0)))
    step = 0 if phase(circuit, now) == "closed" else circuit.step + 1
    return Circuit(until=now + open_for(step, retry_after), step=step, reason=reason)


def claim(circuit: Circuit, now: float) -> Circuit | None:
    """Take the probe; None: there is none to take now."""
    if phase(circuit, now) != "probe":
        return None
    return msgspec.structs.replace(circuit, probe=now + PROBE_LEASE)


def close(circuit: Circuit, now: float) -> Circuit:
    """A probe was answered well: begin the ramp.

    Changes nothing unless the pause is over and the probe was claimed: a good answer to an old request proves
    nothing. The step is kept until the ramp is through, so that a failure in it doubles the next pause.
    """
    if not circuit.until or now < circuit.until or not circuit.probe:
        return circuit
    return Circuit(step=circuit.step, ramp=now)


def ramp_factor(circuit: Circuit, now: float) -> float:
    """The share of the full rate allowed now: 0 while nobody may send, 1 when closed."""
    now_in = phase(circuit, now)
    if now_in == "closed":
        return 1.0
    if now_in != "ramp":
        return 0.0
    return min(1.0, max(RAMP_LEAST, (now - circuit.ramp) / RAMP))
