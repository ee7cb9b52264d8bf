"""Cuts a client's connection from within, whatever HTTP version it speaks.

The HTTP server owns its sockets and has no call for this. But they are open files of this very process: the one
whose other end is the client is found among them and shut down. The server sees end of file and gives it up; the
client sees the connection closed without an answer (with HTTP/2: all its streams).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from stat import S_ISSOCK

# Linux and macOS both have it; a process has one entry per open file there.
_OPEN_FILES = Path("/dev/fd")


def cut(peer: str) -> bool:
    """Shuts down the connection from `peer` ("host:port"); False if there is none."""
    for entry in _OPEN_FILES.iterdir():
        try:
            descriptor = int(entry.name)
            if not S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            # A duplicate: closing it leaves the server's own descriptor alone.
            connection = socket.socket(fileno=os.dup(descriptor))
        except (OSError, ValueError):
            continue
        with connection:
            if _peer_of(connection) == peer:
                connection.shutdown(socket.SHUT_RDWR)
                return True
    return False


def _peer_of(connection: socket.socket) -> str | None:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        host, port = connection.getpeername()[:2]
    except OSError:  # a listening socket
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
