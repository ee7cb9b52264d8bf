"""Waiting for what other processes do: look again until it is so, with a deadline. Nothing here waits blindly."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

LOOK_S = 0.01


async def until(condition: Callable[[], Any], within: float = 20.0, what: str = "") -> Any:
    """The first true value of `condition`, a plain function or one that returns an awaitable.

    What a busy machine oversleeps is not counted as waiting.

    Raises:
        AssertionError: it did not come true within `within` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or inspect.getsource(condition).strip()}")
        before = time.monotonic()
        await asyncio.sleep(LOOK_S)
        deadline += max(0.0, time.monotonic() - before - 2 * LOOK_S)


async def pass_time(seconds: float) -> None:
    """Let a fault last: the one wait for a clock, because how long it lasts is what is tested."""
    await asyncio.sleep(seconds)
