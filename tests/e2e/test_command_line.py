"""The processes that an operator starts, together: a Redis, the emulator, a worker, and a producer."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest
import redis

from dispatcher.queue.embedded import EmbeddedRedis

PROJECT = "demo-orchard-41"
PATIENCE_S = 20


class Site:
    """Starts processes and asks them."""

    def __init__(self, stack, folder):
        self.stack = stack
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("DISPATCHER_")}
        self.env["DISPATCHER_HTTP_PORT"] = "0"

    def start(self, *arguments, **pipes):
        process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher", *arguments], env=self.env, text=True, **pipes
        )
        self.stack.callback(self.end, process)
        return process

    def end(self, process):
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        if process.poll() is None:
            process.kill()
            process.wait()

    def run(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "dispatcher", *arguments],
            env=self.env, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def start_redis(self):
        server = self.stack.enter_context(EmbeddedRedis())
        self.env["DISPATCHER_REDIS_URL"] = server.url
        self.redis = self.stack.enter_context(
            redis.Redis.from_url(server.url, protocol=2, decode_responses=True)
        )

    def start_emulator(self):
        keys = self.folder / "keys"
        emulator = self.start(
            "emulator",
            "--port",
            "0",
            "--write-credentials",
            str(keys),
            "--projects",
            PROJECT,
            stdout=subprocess.PIPE,
        )
        self.env["DISPATCHER_FCM_ENDPOINT"] = json.loads(emulator.stdout.readline())["url"]
        self.env["DISPATCHER_CREDENTIALS"] = str(keys)

    def start_worker(self):
        worker = self.start("worker", stderr=subprocess.PIPE)
        for line in worker.stderr:
            event = json.loads(line)
            if event["event"] == "worker_starting":
                self.url = f"http://127.0.0.1:{event['port']}"
                # Nobody reads on: the pipe holds what a short life has to say.
                return worker
        raise AssertionError(f"the worker ended with {worker.wait()}")

    def ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/readyz") as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def outcomes(self):
        """Those of the first entry of the stream, as soon as there is one."""
        read = self.redis.xread({f"fcm:{{{PROJECT}}}:outcomes": "0"}, count=1, block=PATIENCE_S * 1000)
        assert read, f"no outcome within {PATIENCE_S} s"
        ((_, ((_, fields),)),) = read
        return json.loads(fields["outcomes"])


@pytest.fixture
def site(tmp_path):
    with ExitStack() as stack:
        yield Site(stack, tmp_path)


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
    assert refused.returncode == 1
    assert json.loads(refused.stdout)[0]["status"] == "rejected"
    listed = site.run("outcomes", "--project", PROJECT, "--json")
    assert [json.loads(line)["status"] for line in listed.stdout.splitlines()] == ["accepted", "rejected"]


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
