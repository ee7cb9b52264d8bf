"""What `dispatcher check` finds."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct):
    """One thing that was looked at.

    Attributes:
        part: `redis`, `clock`, `credentials` or `endpoint`.
        text: what was found; if not ok, with its mend.
        ok: whether it is as it should be.
        caution: it will work, and somebody should look at it all the same.
    """

    part: str
    text: str
    ok: bool = True
    caution: bool = False
