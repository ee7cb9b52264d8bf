"""The processes that an operator starts, together: a Redis, the emulator, a worker."""

import json
import os
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


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory):
    """One site for all tests of a file."""
    with ExitStack() as stack:
        yield Site(stack, tmp_path_factory.mktemp("site"))
