"""Times as people write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dispatcher.errors import SettingsError
from dispatcher.settings.kinds import Duration

_AHEAD = Duration(0.001, 366 * 86_400.0)
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
            return now() + _AHEAD.read(text[1:])
        if text.replace(".", "", 1).isdecimal():
            return float(text)
        at = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f'{option}: found "{text}"; {_MEND}') from None
    if at.tzinfo is None:
        raise SettingsError(f'{option}: found "{text}", which may be any time zone\'s; {_MEND}')
    return at.timestamp()
