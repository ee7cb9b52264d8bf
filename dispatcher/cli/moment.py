"""Times and durations as people write them, times as they read them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from dispatcher.errors import SettingsError
from dispatcher.settings.kinds import Duration

_SPAN = Duration(0.001, 366 * 86_400.0)
_MEND = "write +2h, 2026-11-22T09:00Z or Unix seconds"


def moment(option: str, text: str, now: Callable[[], float]) -> float:
    """A time, in Unix seconds; 0: none is given.

    Args:
        option: whose it is.
        text: `+2h` (from now), ISO 8601 with its offset, or Unix seconds.
        now: tells the time, by Redis's clock; asked only for a time from now.

    Raises:
        SettingsError: it is no time.
    """
    if not text:
        return 0.0
    try:
        if text.startswith("+"):
            return now() + _SPAN.read(text[1:])
        if text.replace(".", "", 1).isdecimal():
            return float(text)
        at = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f'{option}: found "{text}"; {_MEND}') from None
    if at.tzinfo is None:
        raise SettingsError(f'{option}: found "{text}", which may be any time zone\'s; {_MEND}')
    return at.timestamp()


def duration(option: str, text: str) -> float:
    """A time span, in seconds; 0: none is given.

    Args:
        option: whose it is.
        text: `2h`, or seconds.

    Raises:
        SettingsError: it is none.
    """
    if not text:
        return 0.0
    try:
        return _SPAN.read(text)
    except ValueError:
        raise SettingsError(f'{option}: found "{text}"; allowed: {_SPAN.allowed}') from None


def when(at: float) -> str:
    """A time for people, UTC.

    Args:
        at: Unix seconds.
    """
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
