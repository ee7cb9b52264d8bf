"""The floor that speaks to Redis, and the only one that imports its client.

Everything that must be atomic is one Lua script of one slot (`scripts/`, one file a script, with its keys,
arguments and reply on top); Python only packs arguments and reads replies. Nothing here runs in the
background: loops, jitter and reactions belong to pipeline/.

Where to find what:

    store.py        Queue: one worker's view of Redis, composed of the parts below
    connection.py   Server: one way of calling commands and scripts, errors mapped, commands counted
    cluster.py      the same over Redis Cluster
    rights.py       the least rights of each task, as ACL SETUSER wants them
    address.py, opening.py       what a Redis URL means; from it to a Server
    faults.py, script.py         the client's errors in ours; Lua files as values
    keys.py         names of keys
    clock.py        the Redis clock as seen from here
    embedded.py     a private server for the demo and the tests
    reading.py      taking entries out of the lanes
    settlement.py   the fenced end of a batch: outcomes, retries, dead letters
    delayed.py      jobs that wait for their time
    leases.py, reclaim.py        who is alive, and what the dead left behind
    quota.py, circuit.py, pauses.py      the limits that all replicas share
    dedup.py        first sight of a deduplication key
    control.py      pauses and verdicts that all replicas share
    producing.py, records.py     enqueueing; listing outcomes and dead letters
    stats.py, retention.py, health.py    what waits, what is trimmed, whether the server is fit
"""
