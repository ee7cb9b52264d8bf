"""The library against whole processes: a replay arrives once, and Node needs nothing of ours."""

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from dispatcher.client import DeadFilter, DeadLetters, OutcomeGroupReader, Producer

PROJECT = "demo-orchard-41"
EXAMPLE = Path(__file__).parents[2] / "examples/node/send.mjs"


def ask_emulator(site, path, method="GET", body=None):
    request = urllib.request.Request(
        site.env["DISPATCHER_FCM_ENDPOINT"] + "/_emulator/" + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


async def collect(reader, number):
    found = []
    async for outcome in reader:
        found.append(outcome)
        if len(found) == number:
            return found
    raise AssertionError


async def test_a_replayed_letter_is_sent_once_however_often_it_is_asked_for(site):
    site.env["DISPATCHER_MAX_ATTEMPTS"] = "1"
    site.start_redis()
    site.start_emulator()
    site.start_worker()
    url = site.env["DISPATCHER_REDIS_URL"]
    ask_emulator(site, "faults", "PUT", {"rules": [{"target": "unlucky", "error": "INTERNAL"}]})
    async with (
        Producer.at(url) as producer,
        OutcomeGroupReader.at(url, PROJECT, "test") as reader,
        DeadLetters.at(url) as dead,
    ):
        job = await producer.send(PROJECT, {"notification": {"title": "Hi"}}, tokens=["lucky", "unlucky"])
        first = {o.target["token"]: o for o in await collect(reader, 2)}
        assert (first["lucky"].status, first["unlucky"].status) == ("accepted", "failed")
        (letter,) = [letter async for letter in dead.letters(PROJECT)]
        assert (letter.job, letter.status, [t.value for t in letter.targets]) == (job, "failed", ["unlucky"])
        ask_emulator(site, "faults", "PUT", {})
        before = ask_emulator(site, "counts?by=target")
        done = [await dead.replay(PROJECT, DeadFilter(job=job)) for _ in range(3)]
        assert [replayed.jobs for replayed in done] == [1, 0, 0]
        (again,) = await collect(reader, 1)
        assert (again.job, again.index, again.status, again.replay) == (job, 1, "accepted", 1)
        assert (again.target, again.attempts) == ({"token": "unlucky"}, 1)
        after = ask_emulator(site, "counts?by=target")
    assert after["token:lucky"] == before["token:lucky"] == 1
    assert after["token:unlucky"] == before["token:unlucky"] + 1
    assert site.redis.xlen(f"fcm:{{{PROJECT}}}:dead") == 0


def test_the_node_example_prints_an_outcome_for_each_token(site):
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no node")
        pytest.skip("no node")
    site.start_redis()
    site.start_emulator()
    site.start_worker()
    ran = subprocess.run(
        [node, str(EXAMPLE), PROJECT, "fQ7x...", "dK2p..."],
        env=site.env, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(line.split() for line in ran.stdout.splitlines()) == [
        ["dK2p...", "accepted"],
        ["fQ7x...", "accepted"],
    ]
    wrong = subprocess.run([node, str(EXAMPLE)], capture_output=True, text=True, check=False, timeout=60)
    assert (wrong.returncode, wrong.stdout) == (2, "")
