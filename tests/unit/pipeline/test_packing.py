"""dispatcher.pipeline.packing: the timer of the packers"""

import asyncio

from dispatcher.model import Job
from dispatcher.pipeline.packing import Packing
from dispatcher.policy.packer import Packer


class OfProject:
    """The part of a project that packing sees."""

    def __init__(self, linger_s: float) -> None:
        self.packer = Packer(500, linger_s)
        self.packed = asyncio.Queue()

    def enqueue(self, batches) -> None:
        for batch in batches:
            self.packed.put_nowait(batch)


def job() -> Job:
    return Job("1-0", "normal", "p", [], 10, "1-0", "normal", b"{}", "token", ["t"], False, 0.0, 1e12)


async def test_a_batch_goes_on_when_it_has_lingered_however_long_others_linger():
    patient, hasty = OfProject(3600.0), OfProject(0.001)
    packing = Packing({"patient": patient, "hasty": hasty})
    timer = asyncio.create_task(packing.run())
    packing.add(patient, [job()], epoch=1)
    await asyncio.sleep(0)  # the timer sets out for the patient one
    packing.add(hasty, [job(), job()], epoch=1)
    async with asyncio.timeout(10):
        assert (await hasty.packed.get()).size == 2
    packing.add(hasty, [job()], epoch=1)
    async with asyncio.timeout(10):
        assert (await hasty.packed.get()).size == 1
    assert patient.packed.empty()
    timer.cancel()


async def test_full_batches_go_on_at_once():
    project = OfProject(3600.0)
    packing = Packing({"p": project})
    packing.add(project, [job() for _ in range(1001)], epoch=1)
    assert [project.packed.get_nowait().size for _ in range(2)] == [500, 500]
    assert project.packed.empty()
