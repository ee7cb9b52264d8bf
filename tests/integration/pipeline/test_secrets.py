"""Tokens and keys show nowhere: workers meet every kind of failure, and then all they have written is searched."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio

from dispatcher.queue.embedded import EmbeddedRedis

FIRST, SECOND, THIRD = "demo-orchard-41", "second-42", "third-43"
PASSWORD = "orange-Marmalade-77"
STATIC = "opaque-static-token-5f2c9e"
LEGACY = "AAAAlegacy0:APA91bServerKey" + "s3cr3tKey" * 14
PROXY_PASSWORD = "proxy-Password-4711"

# As the real ones look, and one as a gateway may give out.
TOKENS = [f"cXk3QmRfS0u9vWyZaBcD{n:02}:APA91b{'Hk7LmNoPqR' * 13}{n:02}" for n in range(40)]
ODD = "gateway/registration=0123456789abcdef"

CRASH = """
import sys
from dispatcher.pipeline.settling import Settling
from dispatcher.__main__ import main

async def crash(self, finished):
    job = finished.batch.jobs[0]
    token = await finished.project.credential.token()
    raise ValueError(f"cannot settle {job.values} {job.message!r} sent with {token} over {finished.project.settings}")

Settling._settle = crash
sys.exit(main())
"""


@pytest.fixture
async def locked(desk, emulator) -> Iterator[EmbeddedRedis]:
    """A Redis of its own that asks for a password."""
    with EmbeddedRedis() as own:
        client = redis.asyncio.Redis.from_url(own.url, protocol=2)
        await client.config_set("requirepass", PASSWORD)
        await client.aclose()
        desk.redis, before = redis.asyncio.Redis.from_url(own.url, protocol=2, password=PASSWORD), desk.redis
        yield own
        await desk.redis.aclose()
        desk.redis = before


class Case:
    """A folder with everything that a worker is given, and the search through all that it wrote."""

    def __init__(self, folder: Path, emulator) -> None:
        self.folder = folder
        self.emulator = emulator
        (folder / "keys").mkdir()
        for project in (FIRST, SECOND):
            content = Path(emulator.credentials[project]).read_text()
            (folder / "keys" / f"{project}.json").write_text(content)
        self.key = json.loads(content)["private_key"]
        # A key that parses and is refused, one that does not parse.
        bad = json.loads(content) | {"client_email": "nobody@nowhere"}
        (folder / "keys" / f"{SECOND}.json").write_text(json.dumps(bad))
        (folder / "keys" / "broken.json").write_text(json.dumps(bad)[:900])
        (folder / "redis-password").write_text(PASSWORD + "\n")
        (folder / "token").write_text(STATIC + "\n")
        (folder / "legacy").write_text(LEGACY + "\n")

    def config(self, **third: object) -> Path:
        file = self.folder / "dispatcher.toml"
        table = {
            "credential": f"token-file:{self.folder}/token",
            "legacy_key_file": f"{self.folder}/legacy",
        } | third
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
        file.write_text(f'[projects."{THIRD}"]\n{lines}')
        return file

    def settings(self, locked: EmbeddedRedis, **more: object) -> dict[str, object]:
        return {
            "redis_url": locked.url,
            "redis_password_file": self.folder / "redis-password",
            "credentials": self.folder / "keys",
            "log_level": "debug",
            "lease_s": 1,
            **more,
        }

    def search(self, written: str, *, of_whom: str) -> None:
        """Nothing secret in it; pieces long enough to be of use to somebody count as the whole."""
        lines = [line for line in self.key.splitlines() if len(line) == 64]
        for secret in [
            *(token[10:60] for token in TOKENS),
            *lines,
            ODD[:20],
            PASSWORD,
            STATIC,
            PROXY_PASSWORD,
        ]:
            assert secret not in written, f"{secret} in {of_whom}"
        assert LEGACY[12:40] not in written
        assert not re.search(r"ya29\.[\w-]", written)
        assert "PRIVATE KEY" not in written
        assert "eyJ" not in written


async def everything_in_redis(desk) -> str:
    """All that the worker wrote there, but what holds tokens by contract."""
    written = [*await desk.recorded(), *await desk.dead(), await desk.control()]
    by_contract = {"target", "message", "tokens"}
    return "\n".join(json.dumps({k: v for k, v in item.items() if k not in by_contract}) for item in written)


@pytest.mark.parametrize("wire", ["batch", "v1"])
async def test_every_kind_of_failure_shows_no_secret(wire, spawn, desk, emulator, locked, tmp_path):
    case = Case(tmp_path, emulator)
    answers = [
        {"error": "UNREGISTERED"},
        {"error": "INVALID_REGISTRATION"},
        {"error": "INVALID_ARGUMENT"},
        {"error": "SENDER_ID_MISMATCH"},
        {"error": "THIRD_PARTY_AUTH_ERROR"},
        {"error": "QUOTA_EXCEEDED"},
        {"error": "UNAVAILABLE"},
        {"error": "INTERNAL"},
    ]
    # Servers that quote what they were sent: whole and cut, as JSON and as a page.
    quotes = [
        {
            "status": 400,
            "body": json.dumps({"error": {"code": 400, "message": f"no such token {TOKENS[8]}"}}),
        },
        {"status": 404, "body": f"<html>{TOKENS[9]} is unknown, Authorization: Bearer {STATIC}</html>"},
        {"status": 500, "body": json.dumps({"error": "x" * 150 + TOKENS[10] + STATIC})},
        {"cut": "after"},
        {"truncate": 9},
    ]
    rules = [{"target": TOKENS[n], **rule} for n, rule in enumerate([*answers, *quotes])]
    odd = {
        "target": ODD,
        "status": 400,
        "body": json.dumps({"error": {"code": 400, "message": f"what is {ODD}?"}}),
    }
    emulator.script(*rules, odd)
    third = {
        "transport": wire,
        "fcm_endpoint": f"{emulator.url}/nowhere",
        "proxy": f"http://me:{PROXY_PASSWORD}@127.0.0.1:9",
    }
    worker = spawn(
        "--config", str(case.config(**third)), **case.settings(locked, transport=wire, max_attempts=1)
    )
    desks = [type(desk)(desk.redis, project) for project in (FIRST, SECOND, THIRD)]
    for each in desks:
        # A page instead of an answer pauses the project: what is refused, and all answers by one job, are before that.
        await each.add(message={"token": TOKENS[0], "topic": "two-targets"})
        await each.add(message={"token": TOKENS[0], TOKENS[1]: "unknown field"})
        await each.add(message={"token": TOKENS[0], "data": {"k": {"nested": TOKENS[1]}}})
        await each.add(message=f'{{"token": "{TOKENS[0]}"')
        await each.add(tokens=json.dumps(TOKENS), message={"token": TOKENS[3]})
        await each.add(tokens=json.dumps([*TOKENS, ODD]), message={"data": {"a": "b"}})
        for token in [*TOKENS, ODD]:
            await each.add(message={"token": token})
    await desk.until(lambda: _count(desks[0], 43), 30)
    await desk.until(desks[1].control, 30)
    await desk.until(lambda: _count(desks[2], 4), 30)
    await desk.until(lambda: worker.said("credentials_failed"))
    for path in ("/metrics", "/readyz", "/livez"):
        case.search((await worker.get(path)).text, of_whom=path)
    emulator.put("oauth", revoke=True, refuse="invalid_grant")
    await desks[0].add(message={"token": TOKENS[20]})
    await desk.until(desks[0].control, 30)
    worker.send(15)
    assert await worker.stopped() == 0
    assert worker.said("credential_problem")
    assert worker.said("project_paused")
    case.search(worker.log_file.read_text(), of_whom="the log")
    for each in desks:
        case.search(await everything_in_redis(each), of_whom=f"what Redis keeps of {each.project}")
    reasons = [letter["reason"] for letter in await desks[0].dead()]
    assert any(f"{TOKENS[8][:8]}~" in reason for reason in reasons)


async def _count(desk, count: int) -> bool:
    return len(await desk.recorded()) >= count


async def test_a_crash_shows_no_secret(spawn, desk, emulator, locked, tmp_path):
    case = Case(tmp_path, emulator)
    config = case.config(proxy=f"http://me:{PROXY_PASSWORD}@127.0.0.1:9", transport="v1")
    third = type(desk)(desk.redis, THIRD)
    worker = spawn("--config", str(config), program=("-c", CRASH), **case.settings(locked))
    await desk.add(message={"token": TOKENS[0], "data": {"also": TOKENS[1]}})
    assert await worker.stopped() == 1
    text = worker.log_file.read_text()
    assert "worker_crashed" in text
    assert "cannot settle" in text
    case.search(text, of_whom="the log of a crash")
    # Once more with a static token, which looks like nothing in particular.
    await desk.redis.flushall()
    worker = spawn("--config", str(config), program=("-c", CRASH), **case.settings(locked))
    await third.add(message={"token": TOKENS[0]})
    assert await worker.stopped() == 1
    text = worker.log_file.read_text()
    assert "cannot settle" in text
    case.search(text, of_whom="the log of a crash")


@pytest.mark.parametrize(
    "wrong",
    [
        {"redis_url": f"http://user:{PASSWORD}@host", "redis_password_file": None},
        {"redis_url": f"redis://user:{PASSWORD}@127.0.0.1:99999/0", "redis_password_file": None},
        {"proxy": f"socks5://me:{PROXY_PASSWORD}@127.0.0.1:9"},
        {"fcm_endpoint": f"ftp://me:{PASSWORD}@host"},
        {"credentials": "KEYS/broken.json"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_settings_that_will_not_do_show_no_secret(wrong, spawn, desk, emulator, locked, tmp_path):
    case = Case(tmp_path, emulator)
    if "credentials" in wrong:
        wrong = {"credentials": str(tmp_path / "keys" / "broken.json")}
    worker = spawn(**{**case.settings(locked), **wrong})
    assert await worker.stopped() == 2
    text = worker.log_file.read_text()
    assert len(text.splitlines()) == 1
    case.search(text, of_whom="the error line")
