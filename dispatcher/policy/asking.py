"""When to ask for quota again, after it was refused.

The refusal says when the bucket will have enough, if nobody else takes it. A worker alone waits exactly that long and
is granted. Workers that share a project are all told the same time, one of them gets it, and all the others have asked
Redis in vain: with 200 workers on 50 projects that would be 150 questions for each grant. So whoever is refused twice
in a row waits longer, by dice and twice as long each time; there are then as many the fewer questions of each.
"""

from __future__ import annotations

SPREAD = 0.025
"""Most seconds on top after the second refusal in a row; doubled with each further one."""

MOST_SPREAD = 1.6
"""Where doubling ends. A grant is for half a second of the quota: so many workers as it takes to get here ask often
enough together to leave nothing of it unused."""

_LAST_DOUBLING = 30


def wait_to_ask(told: float, refusals: int, chance: float) -> float:
    """Seconds until it is worth asking again.

    Args:
        told: what the refusal said, in seconds.
        refusals: in a row, this one included.
        chance: uniform in [0, 1).
    """
    if refusals < 2:
        return told
    return told + chance * min(MOST_SPREAD, SPREAD * 2.0 ** min(refusals - 2, _LAST_DOUBLING))
