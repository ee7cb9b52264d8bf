"""What a message costs one worker over XMPP, from the entry in Redis to its recorded outcome.

One message a job, as in `pipeline.py`: the jobs wait aside until the worker is ready, connected and idle; measured is from
there to the last settled one. The server is a process of its own: TLS, a login that takes any key, and an ack for every
stanza, after `--latency-ms` if that is given.

    python benchmarks/xmpp.py --jobs 100000 --connections 10 --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
import redis
import uvloop
from legacy import ASIDE, CONTENT, IDLE_S, PROJECT, STREAM, cpu_s, ready, token, wait_until

from dispatcher.emulator.xmpp_listener import tls_context, write_certificate
from dispatcher.protocol.xml_stream import Element, Opened, StreamReader
from dispatcher.queue.embedded import EmbeddedRedis

HEADER = (
    b'<stream:stream from="fcm.googleapis.com" id="1" version="1.0" xmlns="jabber:client" '
    b'xmlns:stream="http://etherx.jabber.org/streams">'
)
MECHANISMS = (
    b'<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism>'
    b"</mechanisms></stream:features>"
)
BIND = b'<stream:features><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></stream:features>'


class Acking(asyncio.Protocol):
    """One connection."""

    latency_s = 0.0

    def __init__(self) -> None:
        self.reader = StreamReader()
        self.known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what came, in one piece."""
        answers: list[bytes] = []
        for event in self.reader.feed(data):
            if isinstance(event, Opened):
                answers.append(HEADER + (BIND if self.known else MECHANISMS))
            elif isinstance(event, Element) and event.tag.endswith(" auth"):
                self.known, self.reader = True, StreamReader()
                answers.append(b'<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>')
            elif isinstance(event, Element) and event.tag.endswith(" iq"):
                answers.append(
                    b'<iq type="result" id="%b"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind">'
                    b"<jid>1@fcm.googleapis.com/1</jid></bind></iq>" % event.attributes["id"].encode()
                )
            elif isinstance(event, Element):
                body = orjson.loads(event.children[0].text)
                answers.append(
                    b'<message><data:gcm xmlns:data="google:mobile:data">{"from":"%b","message_id":"%b",'
                    b'"message_type":"ack"}</data:gcm></message>'
                    % (body["to"].encode(), body["message_id"].encode())
                )
        if self.latency_s and self.known:
            asyncio.get_running_loop().call_later(self.latency_s, self.transport.write, b"".join(answers))
        else:
            self.transport.write(b"".join(answers))  # type: ignore[attr-defined]


def answer(told: Connection, folder: Path, latency_s: float) -> None:
    async def serve() -> None:
        Acking.latency_s = latency_s
        context = tls_context(folder / "ca.pem", folder / "key.pem")
        server = await asyncio.get_running_loop().create_server(Acking, "127.0.0.1", 0, ssl=context)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


@contextmanager
def server(folder: Path, latency_s: float) -> Iterator[str]:
    write_certificate(folder / "ca.pem", folder / "key.pem", ["127.0.0.1"])
    (folder / "server-key").write_text("AAAAbench:key")
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=answer, args=(theirs, folder, latency_s), daemon=True)
    child.start()
    try:
        yield f"127.0.0.1:{ours.recv()}"
    finally:
        child.terminate()
        child.join()


def enqueue(client: redis.Redis, jobs: int) -> None:
    with client.pipeline(transaction=False) as pipe:
        for number in range(jobs):
            message = b'{"token":"%b",' % token(number).encode() + CONTENT
            pipe.execute_command("XADD", ASIDE, "*", "message", message)
            if number % 5000 == 4999:
                pipe.execute()
        pipe.execute()
    client.xgroup_create(ASIDE, "dispatcher", id="0")


def run(store: str, endpoint: str, folder: Path, jobs: int, connections: int, port: int) -> dict[str, float]:
    client = redis.Redis.from_url(store)
    client.flushall()
    enqueue(client, jobs)
    settings = {
        "DISPATCHER_REDIS_URL": store,
        "DISPATCHER_CREDENTIALS": "none",
        "DISPATCHER_PROJECTS": PROJECT,
        "DISPATCHER_TRANSPORT": "xmpp",
        "DISPATCHER_XMPP_ENDPOINT": endpoint,
        "DISPATCHER_XMPP_CONNECTIONS": str(connections),
        "DISPATCHER_SENDER_ID": "884400112233",
        "DISPATCHER_CA_FILE": str(folder / "ca.pem"),
        "DISPATCHER_LEGACY_KEY_FILE": str(folder / "server-key"),
        "DISPATCHER_QUOTA_PER_MINUTE": "1000000000",
        "DISPATCHER_HTTP_PORT": str(port),
        "DISPATCHER_LOG_LEVEL": "error",
    }
    child = subprocess.Popen([sys.executable, "-m", "dispatcher", "worker"], env={**os.environ, **settings})
    try:
        wait_until(lambda: ready(port), child)
        time.sleep(IDLE_S + 0.15 * connections)
        started, cpu = time.perf_counter(), cpu_s(child.pid)
        client.rename(ASIDE, STREAM)
        wait_until(lambda: client.xlen(STREAM) == 0, child)
        took, cpu = time.perf_counter() - started, cpu_s(child.pid) - cpu
        status = Path(f"/proc/{child.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    finally:
        child.terminate()
        child.wait(60)
    return {"wall": jobs / took, "core": jobs / cpu, "cpu_us": cpu / jobs * 1e6, "peak_mb": peak}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--jobs", type=int, default=100_000)
    options.add_argument("--connections", type=int, default=10)
    options.add_argument("--latency-ms", type=float, default=0.0)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--port", type=int, default=18091)
    arguments = options.parse_args()
    print(
        "| connections | latency ms | msg/s (wall) | msg/s of worker CPU | worker CPU us each | peak RSS MB |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with EmbeddedRedis() as store, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(folder, arguments.latency_ms / 1000) as endpoint:
            rounds = [
                run(store.url, endpoint, folder, arguments.jobs, arguments.connections, arguments.port)
                for _ in range(arguments.rounds)
            ]
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    print(
        f"| {arguments.connections} | {arguments.latency_ms:g} | {median['wall']:,.0f} | {median['core']:,.0f} "
        f"| {median['cpu_us']:.1f} | {median['peak_mb']:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
