"""Redis over TLS, with users of few rights: whole workers under faults, and one line where they cannot begin."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.certificates import Authority
from harness.processes import ROOT, Process
from harness.proxy import Fault
from harness.stage import PROJECT, Stage, job
from harness.waiting import until

from dispatcher.model import Target
from dispatcher.queue.rights import WORKER

README = ROOT / "README.md"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def worker_rules() -> list[str]:
    """As the README prints them, password and all."""
    (line,) = re.findall(r"^    ACL SETUSER worker (.*)$", README.read_text(), re.MULTILINE)
    return line.replace("PASSWORD", "secret").split()


@pytest.fixture
async def with_user(make_stage) -> Stage:
    """A stage whose workers log in as a user with the rights of the README's list; what comes from them is TCP."""
    port = free_port()
    stage = await make_stage(
        redis_port=port,
        redis_url="redis://worker:secret@127.0.0.1:{port}",
        redis_upstream=("127.0.0.1", port),
    )
    await stage.redis.client.execute_command("ACL", "SETUSER", "worker", *worker_rules())
    return stage


class Watch:
    """What a server is asked by anything but this process, inside scripts too."""

    def __init__(self, stage: Stage) -> None:
        self.ran: set[str] = set()
        self._stage = stage

    async def listen(self) -> None:
        async with self._stage.redis.client.monitor() as monitor:
            async for seen in monitor.listen():
                if seen["client_type"] != "unix":
                    words = seen["command"].lower().split()
                    container = words[0] in {"xgroup", "xinfo"}
                    self.ran.add("|".join(words[:2]) if container else words[0])


@contextlib.asynccontextmanager
async def watching(stage: Stage) -> AsyncIterator[set[str]]:
    watch = Watch(stage)
    task = asyncio.create_task(watch.listen())
    try:
        yield watch.ran
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_worker_needs_the_rights_of_the_list_and_no_others(with_user: Stage, close):
    """Kills, lost replies, retries, throttling, dead letters, orders and retention, with nothing refused or to spare."""
    stage, client = with_user, with_user.redis.client
    control = stage.keys.control(PROJECT)
    parked = Target("token", "parked:APA91b").key
    async with watching(stage) as ran:
        await stage.emulator.script(
            {"error": "UNAVAILABLE", "times": 20},
            {"error": "QUOTA_EXCEEDED", "target": "throttled:APA91b", "times": 1, "retry_after": 1},
            {"error": "UNREGISTERED", "target": "gone:APA91b"},
            latency=0.1,
        )
        first, second = await stage.crew(2, max_concurrent_requests=4, batch_size=50)
        await stage.produce(300, campaign="spring")
        await stage.produce(20, may=["invalid_token"], target="gone:APA91b", dedup_key="", campaign="x")
        await stage.produce(1, may=["invalid_token"], target="gone:APA91b", dedup_key="k")
        await stage.produce(3, target="throttled:APA91b")
        bad = job("bad") | {"on_unknown": "?"}
        await client.xadd(stage.keys.stream(PROJECT, "normal"), bad)
        stage.expect(bad, may=["rejected"])
        # An operator's stop of a target, lifted by hand.
        await client.hset(control, f"stop:target:{parked}", "1:parked")
        await until(lambda: obeyed(second))
        await stage.produce(1, target="parked:APA91b")
        await until(lambda: client.hget(control, "held"))
        await client.hdel(control, f"stop:target:{parked}")
        await client.zadd(stage.keys.delayed(PROJECT), dict.fromkeys(await parked_members(stage), 0), xx=True)
        await client.script_flush()
        lost = second.redis.inject(Fault(b"XREADGROUP", "drop reply", times=2, skip=1))
        await stage.produce(300, lane="bulk")
        await lost.hit.wait()
        await until(lambda: stage.pending(first))
        await stage.kill(first)
        await stage.settled()
        await close(stage)
    refused = [entry["object"] for entry in await client.acl_log()]
    assert refused == []
    assert ran - {"auth"} == set(WORKER.commands)


async def obeyed(worker) -> bool:
    return bool(worker.said("orders_changed"))


async def parked_members(stage: Stage) -> list[str]:
    found = await stage.redis.client.hgetall(stage.keys.delayed_jobs(PROJECT))
    return [member for member, fields in found.items() if fields.startswith("P")]


async def run_worker(stage: Stage, **settings: Any) -> tuple[int, list[str], Process]:
    """A worker that ends by itself: (exit code, what it said to people)."""
    values = {
        "redis_url": f"redis://127.0.0.1:{stage.redis.port}",
        "credentials": stage.emulator.keys,
        "fcm_endpoint": f"http://127.0.0.1:{stage.emulator.port}",
        "http_port": 0,
        "log_format": "json",
        **settings,
    }
    environment = {f"DISPATCHER_{name.upper()}": str(value) for name, value in values.items()}
    process = Process("worker", [sys.executable, "-m", "dispatcher", "worker"], environment)
    await process.start()
    return await process.ended(), process.words, process


async def check(stage: Stage, **settings: Any) -> tuple[int, list[str]]:
    """(exit code, lines about Redis that are not well) of `dispatcher check`."""
    values = {
        "redis_url": f"redis://127.0.0.1:{stage.redis.port}",
        "credentials": stage.emulator.keys,
        "fcm_endpoint": f"http://127.0.0.1:{stage.emulator.port}",
        **settings,
    }
    environment = {f"DISPATCHER_{name.upper()}": str(value) for name, value in values.items()}
    process = Process("check", [sys.executable, "-m", "dispatcher", "check", "--no-send"], environment)
    await process.start()
    lines = []
    while line := await process.read_line():
        lines.append(line.rstrip())
    code = await process.ended()
    return code, [line for line in lines if not line.startswith("ok") and " redis: " in line]


async def test_a_user_who_lacks_something_is_told_so_in_one_line(with_user: Stage):
    """At the start and by check: a wrong password, a missing command, a missing key, a user who may only read."""
    stage, client = with_user, with_user.redis.client
    port = stage.redis.port
    await client.execute_command("ACL", "SETUSER", "keyless", *worker_rules(), "resetkeys", "~fcm:{*}:jobs:*")
    await client.execute_command("ACL", "SETUSER", "handless", *worker_rules(), "-xclaim", "-zadd")
    await client.execute_command("ACL", "SETUSER", "looker", "on", ">secret", "~*", "+@read", "+info")
    for user, password, code, says in (
        ("worker", "wrong", 2, "DISPATCHER_REDIS_PASSWORD_FILE"),
        ("handless", "secret", 1, "ACL SETUSER ... +xclaim +zadd"),
        ("keyless", "secret", 1, "~fcm:{demo-orchard-41}:*"),
        ("looker", "secret", 1, "ACL SETUSER"),
    ):
        url = f"redis://{user}:{password}@127.0.0.1:{port}"
        ended, words, _ = await run_worker(stage, redis_url=url)
        assert (ended, len(words)) == (code, 1), words
        assert words[0].startswith("dispatcher: ")
        assert says in words[0]
        ended, lines = await check(stage, redis_url=url)
        assert (ended, len(lines)) == (1, 1), lines
        assert lines[0].startswith("FAIL redis: ")
        assert says in lines[0]


@pytest.fixture
async def with_tls(make_stage, tmp_path) -> tuple[Stage, Authority]:
    """A stage whose Redis speaks TLS only (beside its unix socket), and asks its clients for a certificate."""
    authority = Authority(tmp_path / "tls")
    cert, key = authority.sign("redis")
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key))
    stage = await make_stage(
        redis_options=(*options, "--tls-ca-cert-file", str(authority.ca)),
        redis_url="rediss://127.0.0.1:{port}",
        redis_upstream=("127.0.0.1", port),
    )
    return stage, authority


async def test_workers_in_flow_over_tls_with_certificates_on_both_sides(with_tls, close):
    """Nothing else changes: a reset and a kill under it cost what they cost without."""
    stage, authority = with_tls
    await stage.emulator.script(latency=0.1)
    cert, key = authority.sign("worker")
    tls = {"redis_ca_file": authority.ca, "redis_cert_file": cert, "redis_key_file": key}
    first, second = await stage.crew(2, max_concurrent_requests=4, batch_size=50, **tls)
    await stage.produce(1500)
    await until(stage.emulator.accepted)
    second.redis.reset()
    stage.faults += 1
    await until(lambda: stage.pending(first))
    await stage.kill(first)
    await stage.settled()
    await close(stage)


async def test_tls_that_does_not_come_about_is_told_in_one_line(with_tls, tmp_path):
    """An unknown CA, another host's certificate, none of our own, one that Redis does not know, and no TLS at all."""
    stage, authority = with_tls
    port = stage.redis_upstream[1]
    url = f"rediss://127.0.0.1:{port}"
    other = Authority(tmp_path / "other", "other")
    stranger = other.sign("stranger")
    known = authority.sign("worker")
    for settings, says in (
        ({}, "DISPATCHER_REDIS_CA_FILE"),
        ({"redis_ca_file": other.ca}, "DISPATCHER_REDIS_CA_FILE"),
        ({"redis_ca_file": authority.ca}, "DISPATCHER_REDIS_CERT_FILE"),
        (
            {"redis_ca_file": authority.ca, "redis_cert_file": stranger[0], "redis_key_file": stranger[1]},
            "who signed our certificate",
        ),
        (
            {"redis_ca_file": authority.ca, "redis_url": f"rediss://localhost:{port}"},
            "use that name in DISPATCHER_REDIS_URL",
        ),
        ({"redis_ca_file": tmp_path / "missing.pem"}, "REDIS_CA_FILE: cannot read"),
        ({"redis_ca_file": authority.ca, "redis_cert_file": known[0]}, "REDIS_KEY_FILE"),
        ({"redis_ca_file": authority.ca, "redis_url": f"redis://127.0.0.1:{port}"}, "rediss://"),
    ):
        code, words, _ = await run_worker(stage, **{"redis_url": url, **settings})
        assert (code, len(words)) == (2, 1), (settings, words)
        assert says in words[0], (settings, words)
    code, lines = await check(stage, redis_url=url, redis_ca_file=other.ca)
    assert code == 1
    (line,) = lines
    assert line.startswith("FAIL redis: TLS with Redis fails: its certificate is signed by nobody known here")
    assert line.endswith("name the CA in DISPATCHER_REDIS_CA_FILE")
