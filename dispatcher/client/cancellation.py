"""A cancellation that must not get lost between two reads."""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raises what Python 3.11 may have swallowed.

    `asyncio.wait_for`, under which redis-py writes a command, returns its result and forgets a cancellation that comes
    in the same turn of the loop (mended in 3.12). Whoever reads without end would then read on for ever.

    Raises:
        asyncio.CancelledError: the running task has been cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
