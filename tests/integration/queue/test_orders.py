"""What an operator orders, as it stands in Redis."""

from __future__ import annotations

from dispatcher.queue.script import Script

P = "p"
BULK, CONTROL = f"fcm:{{{P}}}:jobs:bulk", f"fcm:{{{P}}}:control"


async def test_a_job_of_the_very_millisecond_of_a_lanes_cancellation_is_in_it(redis_client):
    """It stood in the lane when the order came, also as the first of its millisecond."""
    cancel = Script("cancel")
    for _ in range(1000):
        # One transaction: nearly always within a millisecond.
        pipe = redis_client.pipeline(transaction=True)
        pipe.delete(BULK)
        pipe.xadd(BULK, {"message": "{}"})
        pipe.eval(cancel.source, 2, CONTROL, BULK, "lane", "bulk", 1000, 10)
        _, entry, last = await pipe.execute()
        assert as_numbers(entry) <= as_numbers(last)


def as_numbers(entry_id: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split(b"-")))
