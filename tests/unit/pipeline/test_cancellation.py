"""A cancellation that a library swallows still ends the task."""

from __future__ import annotations

import asyncio

import structlog

from dispatcher.pipeline.cancellation import cancelled
from dispatcher.pipeline.upkeep.duty import Duty


class Swallowing(Duty):
    """Its calls lose a cancellation, as `asyncio.wait_for` did before Python 3.12."""

    def __init__(self) -> None:
        super().__init__(0.001, structlog.get_logger())
        self.entered = asyncio.Event()

    async def round(self) -> float | None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return None
        return None


async def test_a_duty_whose_call_swallows_the_cancellation_ends_all_the_same() -> None:
    duty = Swallowing()
    task = asyncio.create_task(duty.run())
    await duty.entered.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert task in done


async def test_a_task_that_nobody_cancelled_is_not_cancelled() -> None:
    assert not cancelled()
