"""How much is let through: the project's quota, the device limit, and buckets of single targets."""

from __future__ import annotations

from math import ceil

import msgspec

from dispatcher.emulator.faults import Limit, Scenario

WINDOW = 60.0
"""Seconds of a quota window. FCM's bucket is filled to full at the end of each, not smoothly (quota rules, section 1)."""


class Bucket(msgspec.Struct):
    """Tokens left of one target's bucket, and when that was so."""

    left: float
    at: float


class ProjectWindow(msgspec.Struct):
    """One project's current minute, which begins with its first message and not with the clock's minute.

    Attributes:
        started: when the window began.
        spent: messages charged in it.
        devices: messages to each token in it.
    """

    started: float
    spent: int = 0
    devices: dict[str, int] = {}

    def remaining(self, now: float) -> int:
        """Whole seconds until the window ends, at least 1."""
        return max(1, ceil(self.started + WINDOW - now))


class Excess(msgspec.Struct, frozen=True):
    """Which limit a message is over.

    Attributes:
        of: whose limit.
        retry_after: seconds to tell; None: say nothing.
        form: how to tell them.
    """

    of: str
    retry_after: float | None
    form: str = "seconds"


class Limits:
    """All limits of one emulator; nothing is charged for a message that is answered 429."""

    def __init__(self, scenario: Scenario) -> None:
        self._quota = scenario.quota_per_minute
        self._device_quota = scenario.device_per_minute
        self._limits = scenario.limits
        self._subscriptions = scenario.subscriptions_per_s
        self._subscribed: dict[str, Bucket] = {}
        self._windows: dict[str, ProjectWindow] = {}
        self._buckets: dict[tuple[int, str, str], Bucket] = {}

    def window(self, project: str, now: float) -> ProjectWindow:
        """The project's current window."""
        window = self._windows.get(project)
        if window is None:
            window = self._windows[project] = ProjectWindow(now)
        elif now >= window.started + WINDOW:
            window.started += WINDOW * ((now - window.started) // WINDOW)
            window.spent = 0
            window.devices = {}
        return window

    def admit(self, project: str, kind: str, value: str, now: float) -> Excess | None:
        """Charges one message, or says which limit it is over."""
        window = self.window(project, now)
        if self._quota is not None and window.spent >= self._quota:
            return Excess("project", window.remaining(now))
        if self._limits:
            for number, limit in enumerate(self._limits):
                if (
                    (not limit.kind or limit.kind == kind)
                    and (not limit.target or limit.target == value)
                    and value.startswith(limit.prefix)
                ):
                    if not self._take(number, limit, project, value, now):
                        return Excess(kind, limit.retry_after, limit.retry_after_form)
                    break
        if self._device_quota is not None and kind == "token":
            sent = window.devices.get(value, 0)
            if sent >= self._device_quota:
                return Excess("token", window.remaining(now))
            window.devices[value] = sent + 1
        window.spent += 1
        return None

    def subscriptions(self, project: str, count: int, now: float) -> int:
        """How many of `count` changes of subscriptions the project may make now; they are charged.

        A bucket of one second's worth (quota rules, section 3).
        """
        if self._subscriptions is None:
            return count
        bucket = self._subscribed.get(project)
        if bucket is None:
            bucket = self._subscribed[project] = Bucket(self._subscriptions, now)
        refill = max(0.0, now - bucket.at) * self._subscriptions
        bucket.left, bucket.at = min(self._subscriptions, bucket.left + refill), now
        granted = min(count, int(bucket.left))
        bucket.left -= granted
        return granted

    def charge(self, project: str, now: float) -> None:
        """Charges a message that was refused: answers 4xx cost quota too, 429 apart (quota rules, section 1)."""
        self.window(project, now).spent += 1

    def _take(self, number: int, limit: Limit, project: str, value: str, now: float) -> bool:
        key = (number, project, value)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(limit.burst, now)
        bucket.left = min(limit.burst, bucket.left + max(0.0, now - bucket.at) * limit.per_second)
        bucket.at = now
        if bucket.left < 1.0:
            return False
        bucket.left -= 1.0
        return True
