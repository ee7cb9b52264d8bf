"""The part of `dispatcher check` that looks at the endpoints' clocks: keys are signed with this machine's time."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

from dispatcher.cli.finding import Finding
from dispatcher.model import SendError
from dispatcher.transport.session import Session

OFFSET_S = 5.0
"""Clocks farther apart than this are told. The header `Date` has whole seconds, and the answer takes its time."""

_TIMEOUT_S = 10.0
_MOST = 64 << 10


async def check_clock(session: Session, endpoint: str) -> Finding | None:
    """Compare this machine's clock with the one an endpoint tells in its answers.

    Args:
        session: connections over the project's route.
        endpoint: base URL. It is asked for nothing: whatever it answers has a `Date`.

    Returns:
        None if there is no answer, or no readable date in it.
    """
    began = time.time()
    answer = await session.post(f"{endpoint}/", b"", {}, _TIMEOUT_S, most=_MOST)
    ended = time.time()
    if isinstance(answer, SendError) or answer.date is None:
        return None
    try:
        # Cut to a whole second: half of one more is the best guess.
        told = parsedate_to_datetime(answer.date).timestamp() + 0.5
    except ValueError:
        return None
    offset = told - (began + ended) / 2
    if abs(offset) <= OFFSET_S + (ended - began) / 2:
        return Finding("clock", f"{endpoint}'s and this machine's agree within {OFFSET_S:g} s")
    side = "behind" if offset > 0 else "ahead of"
    text = f"this machine's clock is {abs(offset):.0f} s {side} {endpoint}'s: let NTP set it, or signed keys are refused"
    return Finding("clock", text, ok=False)
