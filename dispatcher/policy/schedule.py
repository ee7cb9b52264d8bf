"""A paused target is a schedule, not a list: its next free time, and the end of the pause.

Whoever holds a message for it takes the next slot; nobody has to know how many wait. They come back in the
order in which they were held, one by one. The script that settles a batch does the same on the Redis side; these
functions are its rules in the open. All times are on the Redis clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dispatcher.model import TargetKind

INTERVALS: Mapping[TargetKind, float] = MappingProxyType(
    {
        "token": 0.25,
        "fid": 0.25,
        "group": 0.25,
        "topic": 1.0,
        "condition": 1.0,
        "apns_token": 0.25,
        "subscription": 0.25,
        "group_name": 0.25,
        "service": 0.0,
    }
)
"""Seconds between the held messages of one target. A device may get 240 a minute; a topic send is a fan-out, of which
a project has a limited number at a time. A whole service has a rate of its own: what was held goes on together."""


def hold(next_free: float, until: float, now: float, interval: float) -> tuple[float, float]:
    """Take a slot.

    Args:
        next_free: the target's next free time so far; 0: it was not paused.
        until: end of the pause.
        now: the time now.
        interval: seconds between two slots.

    Returns:
        The slot, and the next free time after it.
    """
    slot = max(next_free, until, now)
    return slot, slot + interval


def passes(slot: float, next_free: float, until: float, now: float) -> bool:
    """Whether a message for a target may be sent now instead of being held.

    Args:
        slot: the slot that this message was given; 0: none, it is newer than the pause.
        next_free: the target's next free time; 0: it is not paused.
        until: end of the pause, as the last 429 set it.
        now: the time now.
    """
    if next_free <= now:
        return True
    # It waited its turn, and no later 429 has moved the end of the pause past it. That later slots are taken
    # is no reason to wait again: they are behind it.
    return 0.0 < slot <= now and slot >= until
