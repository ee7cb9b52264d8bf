"""Redis over TLS, with users of few rights: whole workers under faults, and one line where they cannot begin."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.certificates import Authority
from harness.jobs import job
from harness.processes import ROOT
from harness.proxy import Fault
from harness.stage import PROJECT, Stage
from harness.waiting import until

from dispatcher.errors import QueueMisconfigured, QueueUnavailable
from dispatcher.model import Target
from dispatcher.queue.rights import WORKER
from dispatcher.queue.store import Queue

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


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_worker_needs_the_rights_of_the_list_and_no_others(with_user: Stage, close):
    """Kills, lost replies, retries, throttling, dead letters, orders and retention, with nothing refused or to spare."""
    stage, client = with_user, with_user.redis.client
    control = stage.keys.control(PROJECT)
    parked = Target("token", "parked:APA91b").key
    async with watching(stage) as ran:
        await stage.emulator.script(
            {"error": "UNAVAILABLE", "times": 8},  # fewer than the retries that are always allowed
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
        for worker in (first, second):  # either may read it
            await until(lambda worker=worker: obeyed(worker))
        await stage.produce(1, target="parked:APA91b")
        members = await until(lambda: parked_members(stage))
        await client.hdel(control, f"stop:target:{parked}")
        await client.zadd(stage.keys.delayed(PROJECT), dict.fromkeys(members, 0), xx=True)
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


TRIES = 50
"""Times that a word may be lost to a reset."""


async def refusal(url: str, **login: Any) -> str:
    """What a worker or `dispatcher check` is told when it looks at this Redis.

    A server that refuses our certificate says so and closes, with our first command unread: then a reset may reach us
    before its word. A worker asks again every second; so does this.
    """
    for _ in range(TRIES):
        try:
            await asked(url, **login)
        except QueueMisconfigured as told:
            word = str(told)
        except QueueUnavailable as cut:
            if "reset" in str(cut):
                continue
            raise
        else:
            break
        assert "\n" not in word
        return word
    raise AssertionError(f"{TRIES} times no word of what is wrong")


async def asked(url: str, **login: Any) -> None:
    queue = Queue.at(url, consumer="me", **login)
    try:
        await queue.check_server([PROJECT])
    finally:
        await queue.aclose()


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_worker_whom_redis_refuses_something_ends_at_its_start_with_one_line(with_user: Stage):
    """A wrong password is a wrong setting; a missing command, a missing key and a user who may only read are not."""
    stage, client = with_user, with_user.redis.client
    await client.execute_command("ACL", "SETUSER", "keyless", *worker_rules(), "resetkeys", "~fcm:{*}:jobs:*")
    await client.execute_command("ACL", "SETUSER", "handless", *worker_rules(), "-xclaim", "-zadd")
    await client.execute_command("ACL", "SETUSER", "looker", "on", ">secret", "~*", "+@read", "+info")
    cases = (
        ("worker", "wrong", 2, "DISPATCHER_REDIS_PASSWORD_FILE"),
        ("handless", "secret", 1, "ACL SETUSER ... +xclaim +zadd"),
        ("keyless", "secret", 1, "~fcm:{demo-orchard-41}:*"),
        ("looker", "secret", 1, "ACL SETUSER"),
    )
    for user, password, code, says in cases:
        url = f"redis://{user}:{password}@127.0.0.1:{stage.redis.port}"
        ended, word = await stage.run("worker", redis_url=url)
        assert ended == code, word
        assert word.startswith("dispatcher: ")
        assert says in word
        assert says in await refusal(url)


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


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_workers_in_flow_over_tls_with_certificates_on_both_sides(with_tls, close):
    """Nothing else changes: a reset and a kill under it cost what they cost without."""
    stage, authority = with_tls
    await stage.emulator.script(latency=0.3)
    cert, key = authority.sign("worker")
    tls = {"redis_ca_file": authority.ca, "redis_cert_file": cert, "redis_key_file": key}
    # So little at a time that each has its part, whoever reads first.
    first, second = await stage.crew(2, max_concurrent_requests=4, batch_size=50, max_in_flight=400, **tls)
    await stage.produce(3000)
    await until(stage.emulator.accepted)
    second.redis.reset()
    stage.faults += 1
    await until(lambda: stage.pending(first))
    await stage.kill(first)
    await stage.settled()
    await close(stage)


async def test_tls_that_does_not_come_about_is_told_in_one_line(with_tls, tmp_path):
    """An unknown CA, another host's certificate, none of our own, and one that Redis does not know."""
    stage, authority = with_tls
    port = stage.redis_upstream[1]
    url = f"rediss://127.0.0.1:{port}"
    other = Authority(tmp_path / "other", "other")
    stranger = dict(zip(("cert_file", "key_file"), other.sign("stranger"), strict=True))
    ours = {"ca_file": authority.ca}
    assert "DISPATCHER_REDIS_CA_FILE" in await refusal(url)
    assert "DISPATCHER_REDIS_CA_FILE" in await refusal(url, ca_file=other.ca)
    assert "DISPATCHER_REDIS_CERT_FILE" in await refusal(url, **ours)
    assert "who signed our certificate" in await refusal(url, **ours, **stranger)
    assert "use that name" in await refusal(f"rediss://localhost:{port}", **ours)


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_worker_that_does_not_trust_redis_ends_at_its_start_with_one_line(with_tls, tmp_path):
    """As a wrong setting; so do files that cannot be read, or that the URL has no use for."""
    stage, authority = with_tls
    port = stage.redis_upstream[1]
    url = f"rediss://127.0.0.1:{port}"
    plain = f"redis://127.0.0.1:{port}"
    missing = {"redis_ca_file": tmp_path / "missing.pem"}
    other = {"redis_ca_file": Authority(tmp_path / "other").ca}
    for settings, says in (
        ({"redis_url": url, **other}, "DISPATCHER_REDIS_CA_FILE"),
        ({"redis_url": url, **missing}, "REDIS_CA_FILE: cannot read"),
        ({"redis_url": plain, "redis_ca_file": authority.ca}, "rediss://"),
    ):
        code, word = await stage.run("worker", **settings)
        assert code == 2, word
        assert says in word
