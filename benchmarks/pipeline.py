"""From Redis to recorded outcome: what one worker process costs a message, over each wire.

Enqueues aside, starts the worker, and when it is idle puts the whole lane before it in one step (RENAME). Measured
from there to the last settled message that counts: CPU of the worker process, messages a second, Redis commands a
batch; and its peak memory. So nothing of a message's way is left out: a window that opened at the first settled
message would miss what was read, decoded and packed by then, at 10,000 jobs all of them. The bare loop of the same
primitives (`bare.py`) runs in the same call, so that the ratio survives a noisy machine.

The wire `v1-h2` is v1 over HTTP/2 and TLS to nginx with a fixed answer, certificate checked; the others go to
`server.py` without TLS.

    python benchmarks/pipeline.py                      # the table of README.md
    python benchmarks/pipeline.py --wires batch --jobs 100000 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from nginx import Nginx, nginx

from dispatcher.queue.embedded import EmbeddedRedis

HERE = Path(__file__).parent
PROJECT = "bench"
STREAM = f"fcm:{{{PROJECT}}}:jobs:normal"
ASIDE = f"fcm:{{{PROJECT}}}:aside"
GROUP = "dispatcher"
IDLE_S = 2.0
"""How long a worker is left alone after it is ready: its first round of every duty is over."""


def message(number: int) -> bytes:
    """About 300 bytes, as a token message of a chat looks."""
    token = f"bench{number:011d}:APA91b" + "x" * 118
    return (
        b'{"token":"%b","notification":{"title":"New message","body":"Anna: see you at the harbour at eight?"},'
        b'"data":{"chat":"4711","kind":"text"},"android":{"priority":"high"}}' % token.encode()
    )


def enqueue(client: redis.Redis, stream: str, count: int) -> None:
    """Fill a stream with `count` jobs."""
    for start in range(0, count, 5000):
        with client.pipeline(transaction=False) as pipe:
            for number in range(start, min(count, start + 5000)):
                pipe.execute_command("XADD", stream, "*", "message", message(number))
            pipe.execute()


@contextmanager
def process(command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A child, ended by its id at the end."""
    child = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.terminate()
        child.wait(60)


@contextmanager
def server(latency_ms: float) -> Iterator[str]:
    """The fixed-answer FCM; yields its URL."""
    with process([sys.executable, str(HERE / "server.py"), "0", str(latency_ms)]) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"


def cpu_s(pid: int) -> float:
    """User and system time of a process, all threads."""
    # Linux: the CPU clock of a process, in nanoseconds; /proc counts in hundredths of a second.
    return time.clock_gettime((~pid << 3) | 2)


def peak_rss_mb(pid: int) -> float:
    """Peak resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def metric(port: int, name: str) -> float:
    """The sum of a metric's series."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[ {{]", line))


def run_worker(
    redis_url: str, endpoint: str | Nginx, wire: str, jobs: int, measure: int, port: int
) -> dict[str, float]:
    """One worker over `jobs` waiting jobs; measures the first `measure` of them."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    enqueue(client, ASIDE, jobs)
    client.xgroup_create(ASIDE, GROUP, id="0")
    target = jobs - measure
    settings = {
        "DISPATCHER_REDIS_URL": redis_url,
        "DISPATCHER_CREDENTIALS": "none",
        "DISPATCHER_PROJECTS": PROJECT,
        "DISPATCHER_FCM_ENDPOINT": endpoint if isinstance(endpoint, str) else endpoint.url,
        "DISPATCHER_TRANSPORT": wire.removesuffix("-h2"),
        "DISPATCHER_QUOTA_PER_MINUTE": "1000000000",
        "DISPATCHER_HTTP_PORT": str(port),
        "DISPATCHER_LOG_LEVEL": "error",
    }
    if isinstance(endpoint, Nginx):
        settings |= {"DISPATCHER_HTTP_VERSION": "2", "DISPATCHER_CA_FILE": endpoint.ca_file}
        connected, answered = endpoint.counts()
    with process([sys.executable, "-m", "dispatcher", "worker"], **settings) as child:
        wait_until(lambda: ready(port), child)
        time.sleep(IDLE_S)
        commands = metric(port, "dispatcher_redis_commands_total")
        started, cpu = time.perf_counter(), cpu_s(child.pid)
        client.rename(ASIDE, STREAM)
        wait_until(lambda: client.xlen(STREAM) <= target, child)
        settled = jobs - client.xlen(STREAM)
        took, cpu = time.perf_counter() - started, cpu_s(child.pid) - cpu
        commands = metric(port, "dispatcher_redis_commands_total") - commands
        found = {
            "msg_per_s": settled / took,
            "cpu_us": cpu / settled * 1e6,
            "rss_mb": peak_rss_mb(child.pid),
            "commands_a_batch": commands / metric(port, "dispatcher_batch_messages_count"),
        }
    if isinstance(endpoint, Nginx):
        connections, requests = endpoint.counts()
        found["handshakes"] = (connections - connected) / (requests - answered) * 10_000
    return found


def ready(port: int) -> bool:
    """Whether the worker can do its work."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10):
            return True
    except OSError:  # not listening yet, or 503
        return False


def wait_until(condition, child: subprocess.Popen[str], limit_s: float = 600) -> None:
    """Look every 5 ms."""
    deadline = time.perf_counter() + limit_s
    while not condition():
        if child.poll() is not None:
            raise SystemExit(f"the worker ended with {child.returncode}")
        if time.perf_counter() > deadline:
            raise SystemExit(f"not done after {limit_s:g} s")
        time.sleep(0.005)


def run_bare(redis_url: str, endpoint: str, jobs: int) -> dict[str, float]:
    """The bare loop."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    enqueue(client, STREAM, jobs)
    command = [sys.executable, str(HERE / "bare.py"), redis_url, endpoint, PROJECT, str(jobs)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--wires", nargs="+", default=["bare", "batch", "v1", "v1-h2"])
    options.add_argument("--jobs", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--measure", type=int, default=100_000, help="most messages measured a round")
    options.add_argument("--latency-ms", type=float, default=0.0)
    options.add_argument("--port", type=int, default=18080)
    arguments = options.parse_args()
    print(
        "| wire | jobs waiting | msg/s | worker CPU us/message | peak RSS MB | Redis commands a batch | TLS handshakes in 10,000 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedRedis())
        plain = stack.enter_context(server(arguments.latency_ms))
        tls = stack.enter_context(nginx()) if "v1-h2" in arguments.wires else plain
        for jobs in arguments.jobs:
            for wire in arguments.wires:
                measure = min(jobs, arguments.measure if wire != "v1" else arguments.measure // 5)
                rounds = []
                for _ in range(arguments.rounds):
                    if wire == "bare":
                        rounds.append(run_bare(store.url, plain, measure))
                    else:
                        endpoint = tls if wire == "v1-h2" else plain
                        rounds.append(run_worker(store.url, endpoint, wire, jobs, measure, arguments.port))
                median = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
                row = [
                    wire,
                    f"{jobs:,}" if wire != "bare" else "-",
                    f"{median['msg_per_s']:,.0f}",
                    f"{median['cpu_us']:.1f}",
                    f"{median['rss_mb']:.0f}" if "rss_mb" in median else "-",
                    f"{median['commands_a_batch']:.2f}" if "commands_a_batch" in median else "-",
                    f"{median['handshakes']:.1f}" if "handshakes" in median else "-",
                ]
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
