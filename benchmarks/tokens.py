"""How fast `dispatcher send --tokens` enqueues a file, and what memory that takes.

    python benchmarks/tokens.py [--tokens 10000000] [--gzip]

Writes a file of tokens as long as FCM's (163 characters), starts a private Redis and runs the command as a process of
its own. A second process empties the lane meanwhile, since ten million tokens are 1.7 GB. "One core" is the command's
own time on a processor: Redis and the other process have theirs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--drain", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drain:
        drain(asked.drain)
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as server:
        path = Path(folder) / ("tokens.txt.gz" if asked.gzip else "tokens.txt")
        write(path, asked.tokens, packed=asked.gzip)
        command = [sys.executable, "-m", "dispatcher", "send", "--project", PROJECT, "--title", "Hi"]
        command += ["--tokens", str(path), "--json"]
        env = {**os.environ, "DISPATCHER_REDIS_URL": server.url}
        drainer = subprocess.Popen([sys.executable, __file__, "--drain", server.url])
        try:
            process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
            out, _ = process.communicate()
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        finally:
            drainer.kill()
            drainer.wait()
    summary = json.loads(out)
    seconds = summary["seconds"]
    busy = usage.ru_utime + usage.ru_stime
    print(f"tokens enqueued      {summary['tokens']:>14,}  in {summary['jobs']:,} jobs")
    print(f"wall clock           {seconds:>14.1f} s  {summary['tokens'] / seconds:>12,.0f} tokens/s")
    print(
        f"processor, start too {busy:>14.1f} s  {summary['tokens'] / busy:>12,.0f} tokens/s (writing the file is not in it)"
    )
    print(f"largest RSS          {usage.ru_maxrss / 1024:>14.0f} MB")


if __name__ == "__main__":
    main()
