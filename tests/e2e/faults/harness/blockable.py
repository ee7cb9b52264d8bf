"""A worker whose event loop stands still when the harness says so: `python blockable.py worker`.

The worker itself is the real one. This script, its parent in no sense but the process, blocks the thread that the loop
runs in, as a slow callback or a hung system call would: other threads and the kernel go on, which SIGSTOP does not
show. SIGUSR1: at once, wherever the loop is. SIGUSR2: when the next request is about to be put on a connection,
after everything that decided that it may be sent.

While it stands still it is connected to the unix socket that LOOP_GATE names; it goes on when that is closed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from dispatcher.__main__ import main
from dispatcher.transport.session import Session


def stand_still() -> None:
    """Block until the gate is closed."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(os.environ["LOOP_GATE"])
        gate.recv(1)


def on_request() -> None:
    """Block in the next request."""
    post = Session.post

    async def late(self: Session, *args: Any, **options: Any) -> Any:
        Session.post = post  # type: ignore[method-assign]
        stand_still()
        return await post(self, *args, **options)

    Session.post = late  # type: ignore[method-assign]


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: stand_still())
    signal.signal(signal.SIGUSR2, lambda *_: on_request())
    sys.exit(main())
