"""Background duties of a worker, one short file each.

Every duty is an object with `run()`, which works until it is cancelled, and nothing that others call except what
its docstring names. A failed round is logged and tried again: no duty ends because Redis is away.

| duty | what it does |
| --- | --- |
| `lease_keeper` | keeps this worker's leases, which say that it lives |
| `promoter` | moves what is due from the delayed set to the `due` stream |
| `recoverer` | takes over what dead workers left, suspects of poison apart |
| `reconciler` | finds entries that Redis gave us and that never arrived |
| `controller` | pauses, probes and verdicts that all replicas share |
| `key_watcher` | follows the credential files: projects come and go, keys change |
| `refresher` | renews access tokens ahead of their expiry |
| `janitor` | retention of outcomes and dead letters, dead consumers |
| `observer` | gauges |
"""
