"""A stage for each scenario, a seed that is printed, and the books that are closed at its end."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from harness.ledger import close_books
from harness.report import tell
from harness.stage import Stage

from dispatcher.queue.embedded import find_servers

SEED = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))


def pytest_report_header() -> str:
    return f"FAULT_SEED={SEED} (set it to repeat a run)"


@pytest.fixture
def seed() -> int:
    """Of this run; printed with every scenario."""
    return SEED


MakeStage = Callable[..., Awaitable[Stage]]


@pytest.fixture
async def make_stage(tmp_path_factory: pytest.TempPathFactory, seed: int) -> AsyncIterator[MakeStage]:
    """Start a stage with options of one's own."""
    if not find_servers():
        if os.environ.get("CI") == "true":
            pytest.fail("no Redis server")
        pytest.skip("no Redis server")
    stages: list[Stage] = []
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Stage:
            # Short names: a unix socket's path may have a hundred characters.
            folder = tmp_path_factory.mktemp("s")
            stages.append(await stack.enter_async_context(Stage(folder, seed, **options)))
            return stages[-1]

        yield make
        if os.environ.get("FAULT_LOGS"):
            for stage in stages:
                await stage.describe()
            for worker in [worker for stage in stages for worker in stage.workers]:
                for at, line in worker.lines:
                    print(f"{at:.2f} {worker.name} {line}")
                print(*worker.words, sep="\n")


@pytest.fixture
async def stage(make_stage: MakeStage) -> Stage:
    """A plain Redis, an emulator, and no worker yet."""
    return await make_stage()


Close = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def close(request: pytest.FixtureRequest, seed: int) -> Close:
    """End the workers, hold the books against each other, and tell what it came to."""
    began = time.monotonic()

    async def checked(stage: Stage, **options: Any) -> dict[str, Any]:
        note = options.pop("note", {})
        found = await close_books(stage, **options)
        tell(request.node.name, seed, time.monotonic() - began, {**found, **note})
        return found

    return checked
