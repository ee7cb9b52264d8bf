"""XMPP, legacy HTTP and management jobs under the faults that the wires of today go through."""

from __future__ import annotations

import pytest
from harness.jobs import errand
from harness.proxy import Fault
from harness.stage import Stage
from harness.waiting import until


@pytest.mark.short_lease
async def test_imports_of_a_dead_worker_go_in_calls_that_the_service_takes(stage: Stage, close):
    """Three full calls were on the wire: whoever takes them over together must not make one of them."""
    calls = Fault(b"POST /iid/v1:batchImport", "hold reply", times=None)
    first = await stage.worker(arm=lambda worker: worker.fcm.inject(calls))
    for number in range(3):
        tokens = [f"{100 * number + place:064x}" for place in range(100)]
        name = stage.new_name()
        await stage.enqueue(errand(name, "apns.import", application="orchard", apns_tokens=tokens), ["done"])
    await until(lambda: calls.hits == 3, what="three calls are on the wire")
    await stage.kill(first)
    await stage.worker()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == found["bound"] == 300
