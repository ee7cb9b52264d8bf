"""The processes that an operator starts, together: a Redis, the emulator, a worker, and a producer."""

import json
import signal

import pytest

PROJECT = "demo-orchard-41"
PATIENCE_S = 20


@pytest.mark.parametrize("transport", ["auto", "v1"])
def test_the_smallest_job_ends_as_accepted(site, transport):
    site.env["DISPATCHER_TRANSPORT"] = transport
    site.start_redis()
    site.start_emulator()
    worker = site.start_worker()
    message = '{"token":"fQ7x...","notification":{"title":"Hi","body":"A"}}'
    entry_id = site.redis.xadd(f"fcm:{{{PROJECT}}}:jobs:normal", {"message": message})
    (outcome,) = site.outcomes()
    assert (outcome["job"], outcome["status"], outcome["target"]) == (
        entry_id,
        "accepted",
        {"token": "fQ7x..."},
    )
    assert outcome["message_id"].startswith(f"projects/{PROJECT}/messages/")
    assert site.ready()["ready"]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE_S) == 0
    assert site.redis.xlen(f"fcm:{{{PROJECT}}}:jobs:normal") == 0


def test_sending_from_the_shell_and_waiting_for_the_outcome(site):
    site.start_redis()
    site.start_emulator()
    site.start_worker()
    sent = site.run("send", "--project", PROJECT, "--topic", "news", "--title", "Hi", "--wait", "--json")
    assert sent.returncode == 0, sent.stderr
    (outcome,) = json.loads(sent.stdout)
    assert (outcome["status"], outcome["target"]) == ("accepted", {"topic": "news"})
    refused = site.run("send", "--project", PROJECT, "--title", "no target", "--wait", "--json")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "found no target" in refused.stderr
    listed = site.run("outcomes", "--project", PROJECT, "--json")
    assert [json.loads(line)["status"] for line in listed.stdout.splitlines()] == ["accepted"]


def test_a_worker_without_redis_waits_and_says_so_and_leaves_when_told(site):
    site.start_emulator()
    site.env["DISPATCHER_REDIS_URL"] = f"unix://{site.folder}/nothing-here"
    worker = site.start_worker()
    assert json.loads(worker.stderr.readline())["event"] == "redis_unreachable"
    ready = site.ready()
    assert (ready["ready"], ready["redis"]["ok"]) == (False, False)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE_S) == 0


def test_a_worker_with_a_wrong_setting_does_not_start(site):
    site.env["DISPATCHER_BATCH_SIZE"] = "many"
    ended = site.run("worker")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        'dispatcher: DISPATCHER_BATCH_SIZE: found "many"; allowed: a whole number from 1 to 500\n'
    )


def test_a_worker_that_can_never_reach_its_server_as_it_is_told_does_not_start(site):
    site.start_redis()
    site.env |= {
        "DISPATCHER_CREDENTIALS": "none",
        "DISPATCHER_PROJECTS": PROJECT,
        "DISPATCHER_TRANSPORT": "v1",
        "DISPATCHER_HTTP_VERSION": "2",
        "DISPATCHER_PROXY": "https://user:secret@proxy.invalid:3128",
    }
    ended = site.run("worker")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        "dispatcher: DISPATCHER_PROXY is https://proxy.invalid:3128 for demo-orchard-41, and DISPATCHER_HTTP_VERSION=2 goes "
        "through http:// proxies only: name one of those, or set DISPATCHER_HTTP_VERSION=auto, which speaks HTTP/1.1 through it"
    )
    assert "secret" not in ended.stdout + ended.stderr
