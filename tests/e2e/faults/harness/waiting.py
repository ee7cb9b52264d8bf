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
        await asyncio.sleep(LOOK_S)
