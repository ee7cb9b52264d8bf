"""A stage for each scenario, the run's seed, and the books that are closed at its end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from harness.describe import describe
from harness.ledger import close_books
from harness.report import PROPERTY, line_of
from harness.stage import LEASE_S, Stage
from harness.stalls import short_lease_s

from dispatcher.queue.embedded import find_servers

SEED = int(os.environ["FAULT_SEED"])
"""Of this run; set by tests/conftest.py if by nobody else."""

LIMIT_S = 300
"""Of a scenario that has no limit of its own: only what hangs takes so long, however busy the machine is."""

HERE = Path(__file__).parent
TOLD = pytest.StashKey[dict[str, Any]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limits for these scenarios, where they have none of their own."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The figures of a scenario go with the report of it; a failure says how to repeat it."""
    report = yield
    if report.when == "call" and TOLD in item.stash:
        line = line_of(item.name, SEED, call.duration, item.stash[TOLD])
        report.user_properties.append((PROPERTY, line))
        print(f"\n{line}")
    if report.failed and item.path.is_relative_to(HERE):
        report.sections.append(("to repeat it", f"FAULT_SEED={SEED} python -m pytest -m '' '{item.nodeid}'"))
    return report


@pytest.fixture
def seed() -> int:
    """Of this run; printed at its end and with every failure."""
    return SEED


MakeStage = Callable[..., Awaitable[Stage]]


@pytest.fixture
async def make_stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> AsyncIterator[MakeStage]:
    """Start a stage with options of one's own."""
    short = request.node.get_closest_marker("short_lease") is not None
    if not find_servers():
        if os.environ.get("CI") == "true":
            pytest.fail("no Redis server")
        pytest.skip("no Redis server")
    stages: list[Stage] = []
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Stage:
            # Short names: a unix socket's path may have a hundred characters.
            folder = tmp_path_factory.mktemp("s")
            options.setdefault("lease_s", short_lease_s() if short else LEASE_S)
            stages.append(await stack.enter_async_context(Stage(folder, seed, **options)))
            return stages[-1]

        yield make
        if os.environ.get("FAULT_LOGS"):
            for stage in stages:
                await describe(stage)


@pytest.fixture
async def stage(make_stage: MakeStage) -> Stage:
    """A plain Redis, an emulator, and no worker yet."""
    return await make_stage()


Close = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def close(request: pytest.FixtureRequest) -> Close:
    """End the workers, hold the books against each other, and take down what it came to.

    What is returned is what is taken down: a scenario adds what it finds out beyond the books, as the sentence
    `measured` for the report.
    """

    async def checked(stage: Stage, **options: Any) -> dict[str, Any]:
        found = request.node.stash[TOLD] = await close_books(stage, **options)
        return found

    return checked
