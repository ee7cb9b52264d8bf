"""Whether this task was asked to end: for loops around calls that may lose the request.

redis-py sends through `asyncio.wait_for`, and before Python 3.12 that function swallows a cancellation that arrives in
the moment in which the send completes: the call returns as if nothing had been asked. The task remembers all the same.
"""

from __future__ import annotations

import asyncio


def cancelled() -> bool:
    """Whether the running task was cancelled, even if the `CancelledError` got lost on the way."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
