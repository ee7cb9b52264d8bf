"""What a message costs other clients and queues, and this one: same servers, same run, in turns.

Clients (`peers/`) send to the servers of `pipeline.py`: `v1` over TLS to nginx, `batch` to `server.py`. They have no
queue: their messages are made in the sending process. Queues run jobs that do nothing, from a private Redis. The
workers' rows are measured as in `pipeline.py`, from Redis to recorded outcome. Each round has everyone once, and its
figures are kept: ratios are taken round by round.

CPU is user and system time of the sending process, all threads. *Connections* are those that the server accepted,
fetching the access token and warming up included.

    make bench-peers                                   # installs the peers, each into an environment of its own
    python benchmarks/comparison.py --only worker send_all --rounds 1 --dry
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import redis
import results
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from nginx import GOOGLE_NAMES, Nginx, nginx
from pipeline import COMPARED, Case, run_worker
from stage import HERE, connections, server

from dispatcher.queue.embedded import EmbeddedRedis

ROOT = HERE.parent
INTEROP = ROOT / "tests" / "interop"
DRIVERS = HERE / "peers"
LIMIT_S = 120.0


class Peer(NamedTuple):
    """One that is measured.

    Attributes:
        name: as the table calls it.
        call: what its driver is asked for.
        home: folder of its environment.
        wire: `batch`, `v1` (HTTP/1.1 over TLS), `v1-h2` or `queue`.
        messages: so many a round; few where each takes long.
    """

    name: str
    call: str
    home: Path
    wire: str
    messages: int


PYTHON = ROOT / ".venv-peers"
SHARED = ROOT / ".venv-interop"
NODE = INTEROP / "node"
PEERS = (
    Peer("python firebase-admin 7.7 `send_each`", "send_each", SHARED / "firebase-admin-7", "v1", 1_000),
    Peer(
        "python firebase-admin 7.7 `send_each_async`",
        "send_each_async",
        SHARED / "firebase-admin-7",
        "v1-h2",
        1_000,
    ),
    Peer("python firebase-admin 6.9 `send_all`", "send_all", SHARED / "firebase-admin-6", "batch", 2_000),
    Peer("python async-firebase 6.4 `send_each`", "async_firebase", PYTHON / "async-firebase", "v1", 1_000),
    Peer("python pyfcm 2.1 `async_notify`", "pyfcm", PYTHON / "pyfcm", "v1", 1_000),
    Peer("node firebase-admin 11 `sendAll`", "sendAll", NODE / "firebase-admin-11", "batch", 20_000),
    Peer("node firebase-admin 14 `sendEach`", "sendEach", NODE / "firebase-admin-14", "v1-h2", 10_000),
    Peer("node fcm-v1-http2 1.0", "sendMulticast", DRIVERS / "node" / "fcm-v1-http2", "v1-h2", 10_000),
    Peer("arq 0.28", "arq", PYTHON / "arq", "queue", 2_000),
    Peer("saq 0.26", "saq", PYTHON / "saq", "queue", 2_000),
    Peer("taskiq-redis 1.2", "taskiq", PYTHON / "taskiq", "queue", 2_000),
)
WORKERS = (Case("batch", 100_000), Case("v1-h2", 100_000), Case("v1", 50_000))


class Grounds(NamedTuple):
    """Where all of them run."""

    store: EmbeddedRedis
    plain: str
    tls: Nginx
    keys: dict[bool, Path]
    """By whether the token is fetched without TLS: httplib2 and the agents want it where the messages go."""


def write_key(path: Path, url: str) -> Path:
    """A service-account file; access tokens are fetched from `url`."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    pem = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "bench",
                "private_key_id": "1",
                "private_key": pem,
                "client_email": "bench@bench.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"{url}/token",
            }
        )
    )
    return path


def run_peer(peer: Peer, grounds: Grounds) -> dict[str, float]:
    """One round of a client or a queue."""
    plain = peer.wire == "batch"
    url = grounds.plain if plain else grounds.tls.url
    given = {
        "messages": peer.messages,
        "url": url,
        "key": str(grounds.keys[plain]),
        "redis": grounds.store.url,
    }
    # Nothing of this process's environment but what starts a program: no proxy, no credentials of the user's.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    if peer.call in ("sendAll", "sendEach", "sendMulticast"):
        if plain:
            given["plain"] = url.removeprefix("http://")
        guard = INTEROP / "node" / "guard.js"
        command = ["node", "--require", str(guard), str(DRIVERS / "node" / "fcm.js")]
        environment |= {
            "NODE_EXTRA_CA_CERTS": grounds.tls.ca_file,
            "LOOPBACK_NAMES": "" if plain else ",".join(GOOGLE_NAMES),
            "LOOPBACK_PORT": str(grounds.tls.port),
        }
    else:
        driver = "queues.py" if peer.wire == "queue" else "fcm.py"
        command = [str(peer.home / "bin" / "python"), str(DRIVERS / "python" / driver)]
        environment["PYTHONPATH"] = str(INTEROP / "python" / "guard")
        environment |= dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), grounds.tls.ca_file)
    client = redis.Redis.from_url(grounds.store.url)
    client.flushall()
    before = accepted(peer.wire, grounds)
    run = subprocess.run(
        [*command, peer.call, json.dumps(given)],
        cwd=peer.home, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(f"{peer.name}: {run.stderr[-2000:]}")
    took = json.loads(run.stdout.splitlines()[-1])
    found = {
        "msg_per_s": took["messages"] / took["seconds"],
        "cpu_us": took["cpu_s"] / took["messages"] * 1e6,
    }
    if peer.wire != "queue":
        found["connections"] = accepted(peer.wire, grounds) - before
    return found


def run_ours(case: Case, grounds: Grounds) -> dict[str, float]:
    """One round of a worker."""
    endpoint = grounds.plain if case.wire == "batch" else grounds.tls
    before = accepted(case.wire, grounds)
    found = run_worker(grounds.store.url, endpoint, case, case.jobs)
    return {
        "msg_per_s": found["msg_per_s"],
        "cpu_us": found["cpu_us"],
        "connections": accepted(case.wire, grounds) - before,
    }


def accepted(wire: str, grounds: Grounds) -> int:
    """Connections so far of the server that the wire leads to."""
    return connections(grounds.plain) if wire == "batch" else grounds.tls.connections()


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", nargs="*", help="calls, and `worker`", default=[])
    options.add_argument("--quick", action="store_true", help="one round, a fifth of the messages")
    options.add_argument("--dry", action="store_true", help="print only")
    asked = options.parse_args()
    share = 5 if asked.quick else 1
    if asked.quick:
        asked.rounds = 1
    peers = [peer._replace(messages=peer.messages // share) for peer in PEERS]
    peers = [peer for peer in peers if not asked.only or peer.call in asked.only]
    cases = [case._replace(jobs=case.jobs // share) for case in WORKERS]
    cases = cases if not asked.only or "worker" in asked.only else []
    missing = [
        str(peer.home)
        for peer in peers
        if not any((peer.home / part / ".installed").exists() for part in ("", "node_modules"))
    ]
    if missing:
        raise SystemExit(f"not installed (make bench-peers): {', '.join(missing)}")
    wires = {peer.name: peer.wire for peer in peers} | {f"worker, {case.wire}": case.wire for case in cases}
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedRedis())
        plain, tls = stack.enter_context(server()), stack.enter_context(nginx())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        keys = {False: write_key(folder / "tls.json", tls.url), True: write_key(folder / "plain.json", plain)}
        grounds = Grounds(store, plain, tls, keys)
        runs: dict[str, Callable[[], dict[str, float]]] = {
            **{f"worker, {case.wire}": partial(run_ours, case, grounds) for case in cases},
            **{peer.name: partial(run_peer, peer, grounds) for peer in peers},
        }
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
        for number in range(asked.rounds):
            # There and back again: nobody is always the first, or always after the same one.
            for name in list(runs) if number % 2 == 0 else reversed(runs):
                rounds[name].append(runs[name]())
            for name, found in rounds.items():
                last = found[-1]
                print(
                    f"{number + 1} {name:45} {last['msg_per_s']:>9,.0f} msg/s {last['cpu_us']:>8.1f} us",
                    flush=True,
                )
    rows = [
        {
            "name": name,
            "wire": wires[name],
            "rounds": len(found),
            **{figure: round(statistics.median(each[figure] for each in found), 2) for figure in found[0]},
            "each": {figure: [round(each[figure], 2) for each in found] for figure in COMPARED},
        }
        for name, found in rounds.items()
    ]
    if not asked.dry:
        results.save("peers", {"rows": rows}, quick=asked.quick)


if __name__ == "__main__":
    main()
