"""How fast `dispatcher send --tokens` enqueues a file, and what memory that takes.

Writes a file of tokens as long as FCM's (163 characters), starts a private Redis and runs the command as a process of
its own. A second process empties the lane meanwhile, since ten million tokens are 1.7 GB.

    python benchmarks/tokens.py                        # ten million, plain and gzip, into results/tokens.json
    python benchmarks/tokens.py --tokens 100000 --dry
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import results

from dispatcher.queue.embedded import EmbeddedRedis

PROJECT = "demo-orchard-41"
ROWS = 10_000


def write(path: Path, count: int, *, packed: bool) -> None:
    with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
        for start in range(0, count, ROWS):
            rows = (
                b"%022x:APA91b%0134x\n" % (n * 7919, n * n) for n in range(start, min(count, start + ROWS))
            )
            file.write(b"".join(rows))


def drain(url: str) -> None:
    """Deletes what comes into the lane, until killed."""
    import redis  # noqa: PLC0415 - of this helper process only

    key = f"fcm:{{{PROJECT}}}:jobs:normal"
    with redis.Redis.from_url(url) as client:
        while True:
            client.delete(key)
            time.sleep(0.05)


def enqueue(path: Path) -> dict[str, Any]:
    """Runs the command over a file."""
    with EmbeddedRedis() as server:
        command = [sys.executable, "-m", "dispatcher", "send", "--project", PROJECT, "--title", "Hi"]
        command += ["--tokens", str(path), "--json"]
        env = {**os.environ, "DISPATCHER_REDIS_URL": server.url}
        drainer = subprocess.Popen([sys.executable, __file__, "--drain", server.url])
        try:
            process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
            assert process.stdout is not None
            summary = json.loads(process.stdout.read())
            # Its own time on processors, and its own memory: Redis and the other process have theirs.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            drainer.kill()
            drainer.wait()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    count, busy = summary["tokens"], usage.ru_utime + usage.ru_stime
    return {
        "messages": count,
        "a_second": round(count / summary["seconds"]),
        "a_cpu_second": round(count / busy),
        "cpu_us": round(busy / count * 1e6, 3),
        "rss_mb": round(usage.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tokens")
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument("--drain", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drain:
        drain(asked.drain)
    count = asked.tokens // 10 if asked.quick else asked.tokens
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("tokens.txt", "tokens.txt.gz"):
            path = Path(folder) / name
            write(path, count, packed=path.suffix == ".gz")
            rows.append({"what": f"`dispatcher send --tokens {name}`", **enqueue(path)})
            path.unlink()
            print(rows[-1], flush=True)
    if not asked.dry:
        results.save("tokens", {"rows": rows}, quick=asked.quick)


if __name__ == "__main__":
    main()
