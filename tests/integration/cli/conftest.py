"""Commands run in this process, against a real Redis that is empty at the start."""

from collections.abc import Iterator

import pytest
import redis

from dispatcher.cli.app import run
from dispatcher.queue.embedded import EmbeddedRedis

PROJECT = "demo-orchard-41"


class Shell:
    """Runs commands and shows what they printed."""

    def __init__(self, server: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
        self.redis = server
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        code = run(arguments)
        self.out, self.err = self._capsys.readouterr()
        return code


@pytest.fixture
def shell(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    monkeypatch.setenv("DISPATCHER_REDIS_URL", redis_server.url)
    monkeypatch.setenv("DISPATCHER_PROJECTS", PROJECT)
    monkeypatch.setenv("DISPATCHER_CREDENTIALS", "none")
    with redis.Redis.from_url(redis_server.url, protocol=2) as server:
        server.flushall()
        yield Shell(server, capsys)
