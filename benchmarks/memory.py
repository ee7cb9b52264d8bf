"""What memory a worker needs, by backlog and by kind of job: its peak must not know how much is waiting.

Each case: so many jobs aside, a worker, the lane before it in one step, `--seconds` at full flow, before a slow server
three times its latency more. What is told is the resident memory of the process, before and at the peak. `batch` goes
to `server.py`, `v1` and `v1-h2` over TLS to nginx. A peak is no matter of chance: each case runs once.

    python benchmarks/memory.py
    python benchmarks/memory.py --kinds 4KB --wires batch --dry
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import NamedTuple

import redis
import results
from nginx import Nginx, nginx
from stage import GROUP, MESSAGE, aside, delayed, enqueue, free_port, memory_mb, server, stream, worker

from dispatcher.queue.embedded import EmbeddedRedis

MANY = 20
"""Projects in the cases of many."""
LIMIT_MB = 150
WIRES = ("batch", "v1", "v1-h2")
HANDSHAKE_BYTES = 1_000
"""A client sends fewer for TLS and the start of HTTP/2, and more with its first request: its token has 1,024 characters."""
AT_ONCE, AWAY = "at once", "away"
LARGE = (
    '{"token":"bench@:APA91b' + "x" * 118 + '",'
    '"notification":{"title":"New message","body":"' + "All that fits. " * 20 + '"},'
    '"data":{"text":"' + "y" * 3600 + '"}}'
)
"""About as large as FCM takes: 4 KB of payload."""

_MULTICAST = """
local tokens = {}
for token = 1, 500 do tokens[token] = string.format('bench%011d:APA91b%s', token, string.rep('x', 118)) end
for number = ARGV[1], ARGV[2] do
  redis.call('XADD', KEYS[1], '*', 'message', ARGV[3], 'tokens', cjson.encode(tokens))
end
"""


class Kind(NamedTuple):
    """Jobs of one kind.

    Attributes:
        messages: in a job.
        backlogs: jobs waiting, small and large.
    """

    messages: int
    backlogs: tuple[int, ...]


KINDS = {
    "300 B": Kind(1, (10_000, 1_000_000)),
    "4 KB": Kind(1, (10_000, 60_000)),
    "500 tokens": Kind(500, (100, 4_000)),
}


def fill(client: redis.Redis, project: str, kind: str, jobs: int) -> None:
    """Jobs of a kind, aside."""
    if kind != "500 tokens":
        enqueue(client, aside(project), jobs, LARGE if kind == "4 KB" else MESSAGE)
        return
    script = client.register_script(_MULTICAST)
    for start in range(0, jobs, 100):
        message = '{"notification":{"title":"Sale","body":"All of it, until eight"}}'
        script(keys=[aside(project)], args=[start, min(jobs, start + 100) - 1, message])


def measure(
    store: EmbeddedRedis,
    endpoint: str | Nginx,
    wire: str,
    kind: str,
    jobs: int,
    seconds: float,
    crowd: int = 1,
) -> dict[str, object]:
    """One case, its jobs in equal parts over so many projects."""
    client = redis.Redis.from_url(store.url)
    client.flushall()
    projects = [f"bench-{number}" for number in range(crowd)]
    for project in projects:
        fill(client, project, kind, jobs // crowd)
        client.xgroup_create(aside(project), GROUP, id="0")

    def left() -> int:
        return sum(client.xlen(stream(project)) for project in projects)

    with worker(store.url, endpoint, wire, projects) as running:
        before, _ = memory_mb(running.pid)
        for project in projects:
            client.rename(aside(project), stream(project))
        deadline = time.perf_counter() + seconds
        running.until(lambda: not left() or time.perf_counter() > deadline)
        waiting = left()
        _, peak = memory_mb(running.pid)
        running.child.kill()  # what is under way to a slow server would be waited for
    return {
        "wire": wire,
        "projects": crowd,
        "kind": kind,
        "jobs": jobs,
        "messages_gone": (jobs - waiting) * KINDS[kind].messages,
        "idle_mb": round(before),
        "peak_mb": round(peak),
    }


def cases(wire: str, answers: str, kind: str, *, quick: bool) -> list[tuple[int, int]]:
    """(jobs waiting, projects): every backlog where most of it goes through, and one of them over many projects."""
    backlogs = KINDS[kind].backlogs[: 1 if quick else None]
    large = min(backlogs[-1], 100_000)
    # Elsewhere the worker does not get far enough in the time to tell a large backlog from a larger one.
    single = backlogs if answers == AT_ONCE and wire != "v1" else (large,)
    return [*((jobs, 1) for jobs in single), (large, MANY)]


class Way(NamedTuple):
    """Where messages go.

    Attributes:
        wire: over which.
        answers: how its server does, as the table says it.
        endpoint: where that is.
        more_s: seconds that it takes longer until all that may be in flight is.
    """

    wire: str
    answers: str
    endpoint: str | Nginx
    more_s: float = 0.0


def ways(stack: ExitStack, wires: list[str], slow_ms: float) -> list[Way]:
    """All wires to a server that answers at once, to a slow one, and to none.

    The worst cases: of a slow server all that the settings allow is in flight; of one that is away all is retried.
    """
    slow, more_s = f"after {slow_ms:g} ms", 3 * slow_ms / 1000
    found: list[Way] = []
    if "batch" in wires:
        found += [
            Way("batch", AT_ONCE, stack.enter_context(server())),
            Way("batch", slow, stack.enter_context(server(slow_ms)), more_s),
            Way("batch", AWAY, f"http://127.0.0.1:{free_port()}"),
        ]
    if {"v1", "v1-h2"} & set(wires):
        near, far = stack.enter_context(nginx()), stack.enter_context(nginx())
        # Its answers are late, not its handshakes: connections open one after the other, at 1,000 ms for a minute.
        far.url = f"https://127.0.0.1:{stack.enter_context(delayed(far.port, slow_ms, HANDSHAKE_BYTES))}"
        away = f"https://127.0.0.1:{free_port()}"
        for wire in (wire for wire in WIRES[1:] if wire in wires):
            found += [Way(wire, AT_ONCE, near), Way(wire, slow, far, more_s), Way(wire, AWAY, away)]
    return found


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--wires", nargs="+", choices=WIRES, default=list(WIRES))
    options.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    options.add_argument(
        "--seconds", type=float, default=3.0, help="at full flow, where the server answers at once"
    )
    options.add_argument("--slow-ms", type=float, default=1000.0, help="latency of the slow server")
    options.add_argument("--quick", action="store_true", help="the small backlogs only, 2 seconds each")
    options.add_argument("--dry", action="store_true", help="print only")
    asked = options.parse_args()
    if asked.quick:
        asked.seconds = 2.0
    rows = []
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedRedis())
        for way in ways(stack, asked.wires, asked.slow_ms):
            seconds = asked.seconds + way.more_s
            for kind in asked.kinds:
                for jobs, crowd in cases(way.wire, way.answers, kind, quick=asked.quick):
                    row = measure(store, way.endpoint, way.wire, kind, jobs, seconds, crowd)
                    rows.append({"server": way.answers} | row)
                    print(rows[-1], flush=True)
    if not asked.dry:
        results.save("memory", {"limit_mb": LIMIT_MB, "rows": rows}, quick=asked.quick)


if __name__ == "__main__":
    main()
