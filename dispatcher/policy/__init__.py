"""Decisions: what to send next, what an answer means, who waits and for how long.

Nothing here awaits, reads a clock, throws dice or writes anything: time and chance are arguments, and what has
to be done is returned. Everything is fed once per batch; only `classify` and `settle` look at single errors.

    what goes into one request      packer
    whose turn it is                lanes (streams by weight, projects by fairness)
    how much may be held            room (messages and bytes), concurrency (requests, AIMD)
    what an answer means            error_table (the rules, as data), classify (their interpreter)
    what follows for the message    settle, backoff, retries (the retry budget)
    what follows for its target     schedule
    what follows for its project    health (shares of bad answers), circuit (pause, probe, ramp)
"""
