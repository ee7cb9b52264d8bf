"""What checking and writing one message costs, by kind of message, what reading its answer costs, and HTTP/2.

CPU time of this process, the best of nine runs; no Redis, no network. "check" is `read_message`, all that is asked of
a message before it is sent; "job" is a whole stream entry, check and all; "body" is the request body, "late" the same on
a retry, where lifetimes are shortened. The average is over the first five, which is what producers mostly send, at about
300 bytes; spelt in camelCase or wrapped, a message is read a second time, at leisure. The other table has whole answers,
and a request over HTTP/2 with its answer.

    python benchmarks/codec.py                         # into results/codec.json
    python benchmarks/codec.py --quick --dry
"""

from __future__ import annotations

import argparse
import time
import timeit
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import results
from server import ACCESS_TOKEN
from stage import MESSAGE

from dispatcher.model import JobState
from dispatcher.protocol import batch, batch_server
from dispatcher.protocol.answer import read_answer, success_body
from dispatcher.protocol.http2 import frames
from dispatcher.protocol.http2.connection import Connection
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.message import bodies, read_message

CALLS = 5_000
RUNS = 9
TOKEN = "fQ7xWZ1kTQ6:APA91b" + "x" * 122
SHOWN = {"title": "Harvest", "body": "The apples are ripe."}
APS = {"aps": {"alert": {"title": "Harvest", "body": "Ripe."}, "badge": 3, "sound": "default"}, "row": "17"}

COMMON: dict[str, dict[str, Any]] = {
    "notification": {
        "token": TOKEN,
        "notification": {"title": "Harvest", "body": "The apples are ripe. " * 5},
    },
    "data": {
        "token": TOKEN,
        "data": {"id": "17", "kind": "harvest", "url": "https://example.org/orchard/17"},
    },
    "notification, data, android": {
        "token": TOKEN,
        "notification": SHOWN,
        "data": {"id": "17"},
        "android": {"priority": "high", "ttl": "3600s"},
    },
    "notification, apns": {"token": TOKEN, "notification": SHOWN, "apns": {"payload": {"aps": {"badge": 3}}}},
    "to a topic": {"topic": "news", "notification": SHOWN, "data": {"id": "17", "text": "x" * 180}},
}
OTHER: dict[str, dict[str, Any]] = {
    "to a condition": {
        "condition": "'a' in topics && ('b' in topics || !('c' in topics))",
        "notification": SHOWN,
    },
    "all platforms": {
        "token": TOKEN,
        "notification": SHOWN,
        "data": {"id": "17"},
        "android": {
            "priority": "high",
            "ttl": "3600s",
            "notification": {"color": "#aabbcc", "channel_id": "c"},
        },
        "apns": {"headers": {"apns-expiration": "1999999999", "apns-priority": "10"}, "payload": APS},
        "webpush": {"headers": {"TTL": "3600"}, "notification": {"icon": "https://example.org/i.png"}},
    },
    "a badge as text (warns)": {"token": TOKEN, "apns": {"payload": {"aps": {"badge": "3"}}}},
    "camelCase": {
        "token": TOKEN,
        "notification": SHOWN,
        "android": {"collapseKey": "c", "directBootOk": True},
    },
    "wrapped": {"message": {"token": TOKEN, "notification": SHOWN}},
    "4 KB": {"token": TOKEN, "data": {"text": "x" * 4080}},
    "refused: a number in data": {"token": TOKEN, "data": {"id": 17}},
    "refused: an unknown name": {"token": TOKEN, "notificaton": SHOWN},
}


class Meter(msgspec.Struct):
    """How often things are done.

    Attributes:
        calls: in one run.
        runs: of which the best counts.
    """

    calls: int = CALLS
    runs: int = RUNS

    def us(self, call: Callable[[], object], share: int = 1) -> float:
        """Microseconds a call takes; of one that does much at once, with fewer calls."""
        calls = max(1, self.calls // share)
        times = timeit.repeat(call, number=calls, repeat=self.runs, timer=time.process_time)
        return round(min(times) / calls * 1e6, 3)


def measure(meter: Meter, name: str, document: dict[str, Any]) -> dict[str, Any]:
    """What checking a message, its whole job, its body and its late body cost."""
    raw = orjson.dumps(document)
    entry, limits = [b"message", raw], DecodeLimits()
    job = decode_entry("demo", "normal", "1731000000123-4", entry, limits)
    row = {
        "what": name,
        "bytes": len(raw),
        "check_us": meter.us(lambda: read_message(raw)),
        "job_us": meter.us(lambda: decode_entry("demo", "normal", "1731000000123-4", entry, limits)),
    }
    if job.refusal is None:
        again = msgspec.structs.replace(job, state=JobState(job.id, "normal", job.enqueued_at, sends=1))
        now = job.enqueued_at + 10
        row["body_us"] = meter.us(lambda: bodies([job], now))
        row["late_us"] = meter.us(lambda: bodies([again], now))
    return row


STREAMS = 100
"""At once, as nginx and Google allow."""
# What nginx 1.22 says at first: SETTINGS and a window for the whole connection; then it acknowledges ours.
NGINX_PREFACE = bytes.fromhex(
    "000012040000000000" + "000300000064" + "000400010000" + "000500ffffff"  # 100 streams, windows of 64 KB
    + "000004080000000000" + "7fff0000"
    + "000000040100000000"
)  # fmt: skip
# Its head of a 200: status, server, date, content-type, content-length; after the first answer of a connection.
NGINX_BLOCK = bytes.fromhex(
    "887689aa6355e580ae212e1f6196dd6d5f4a084a693f75040138a01fb8276e05f53168df5f8b1d75d0620d263d4c7441ea5c023730"
)
NGINX_BODY = b'{"name":"projects/bench/messages/0:1731000000222333%5f0e1d2c00000001"}'


def nginx_answer(stream: int) -> bytes:
    """A 200 as nginx writes it; without having read the body it takes the stream back in the end, without an error."""
    return (
        frames.frame(frames.HEADERS, frames.END_HEADERS, stream, NGINX_BLOCK)
        + frames.frame(frames.DATA, frames.END_STREAM, stream, NGINX_BODY)
        + frames.rst_stream(stream, frames.ErrorCode.NO_ERROR)
    )


class Exchanges:
    """Requests over one HTTP/2 connection and their answers, from bytes to bytes; no TLS, no socket.

    Args:
        count: of them, a multiple of `STREAMS`.
    """

    def __init__(self, count: int) -> None:
        self.rounds = [
            b"".join(nginx_answer(2 * number + 1) for number in range(start, start + STREAMS))
            for start in range(0, count, STREAMS)
        ]
        self.body = b'{"message":' + MESSAGE.replace("@", "0" * 11).encode() + b"}"
        self.headers = (
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"fcm.googleapis.com"),
            (b":path", b"/v1/projects/bench/messages:send"),
            (b"content-type", b"application/json"),
            (b"authorization", b"Bearer " + ACCESS_TOKEN.encode()),
        )

    def connect(self) -> None:
        """A new connection, settled."""
        self.connection = Connection()
        self.connection.take()
        self.connection.receive(NGINX_PREFACE)
        self.connection.take()

    def run(self) -> int:
        """All of them; returns how many were answered."""
        connection, headers, body = self.connection, self.headers, self.body
        answered = 0
        for answers in self.rounds:
            for _ in range(STREAMS):
                connection.request(headers, body)
            connection.take()
            answered += len(connection.receive(answers))
        return answered


def measure_http2(meter: Meter) -> dict[str, Any]:
    """A request and its answer; connections are made aside."""
    count = max(STREAMS, meter.calls // STREAMS * STREAMS)
    exchanges = Exchanges(count)
    exchanges.connect()
    if exchanges.run() != count:
        raise SystemExit("HTTP/2: not every request was answered")
    times = timeit.repeat(
        exchanges.run, exchanges.connect, number=1, repeat=meter.runs, timer=time.process_time
    )
    return {
        "what": "HTTP/2: a request and its 200",
        "bytes": len(exchanges.body) + len(NGINX_BODY),
        "us": round(min(times) / count * 1e6, 3),
    }


def measure_answers(meter: Meter) -> list[dict[str, Any]]:
    """What reading an answer costs, by wire."""
    answer = success_body("projects/demo/messages/0:1731000000123456%5f0e1d2c5f0e1d2c")
    parts = [batch_server.SubAnswer(str(number), 200, answer) for number in range(1, 501)]
    whole = batch_server.encode_response(parts, "b")
    each = meter.us(lambda: batch.decode_response("multipart/mixed; boundary=b", whole, 500), 250) / 500
    return [
        {
            "what": "answer of v1",
            "bytes": len(answer),
            "us": meter.us(lambda: read_answer(200, None, None, answer)),
        },
        {"what": "answer of a batch, each of 500", "bytes": len(whole) // 500, "us": round(each, 3)},
    ]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="a tenth of the calls, three runs")
    options.add_argument("--dry", action="store_true", help="print only")
    asked = options.parse_args()
    meter = Meter(CALLS // 10, 3) if asked.quick else Meter()
    print(f"{'message':30} {'bytes':>6} {'check':>8} {'job':>8} {'body':>8} {'late':>8}   us")
    messages = []
    for name, document in {**COMMON, **OTHER}.items():
        messages.append(row := measure(meter, name, document))
        figures = (row.get(figure) for figure in ("check_us", "job_us", "body_us", "late_us"))
        cells = "".join(f" {'-':>8}" if value is None else f" {value:8.2f}" for value in figures)
        print(f"{name:30} {row['bytes']:6}{cells}", flush=True)
    average = sum(row["check_us"] for row in messages[: len(COMMON)]) / len(COMMON)
    print(f"{'average of the first five':30} {'':6} {average:8.2f}")
    wholes = [*measure_answers(meter), measure_http2(meter)]
    for row in wholes:
        print(f"{row['what']:30} {row['bytes']:6} {row['us']:8.2f}")
    if not asked.dry:
        found = {"messages": messages, "average_check_us": round(average, 3), "wholes": wholes}
        results.save("codec", found, quick=asked.quick)


if __name__ == "__main__":
    main()
