"""Floor 4: the way of the data through one worker, as stages joined by bounded queues.

    intake -> packing -> sending -> settling        upkeep: leases, retries due, reclaim, pauses, retention

Chunks in, chunks out: every arrow carries a list or a batch. What a stage decides it asks of policy/ and protocol/;
here is the awaiting, once per batch. `project.py` is the state the stages share, `concluding.py` and `effects.py` are the plain way
from an answer to what is written to Redis.
"""
