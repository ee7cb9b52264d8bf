"""`dispatcher demo`: the whole service on this machine, watched and then audited.

command.py   the command: what happens in which order
stage.py     the processes: Redis, emulator, worker
traffic.py   what is enqueued, and what must become of it
view.py      progress while it runs, tables at the end
audit.py     outcomes and the emulator's ledger against what was asked
"""
