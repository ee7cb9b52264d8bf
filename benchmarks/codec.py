"""What checking and writing one message costs, by kind of message.

    python benchmarks/codec.py

CPU time of this process, the best of nine runs; no Redis, no network. "check" is `read_message`, all that is asked of
a message before it is sent; "job" is a whole stream entry, check and all; "body" is the request body, "late" the same on
a retry, where lifetimes are shortened. The average is over the first five, which is what producers mostly send, at about
300 bytes; spelt in camelCase or wrapped, a message is read a second time, at leisure. The last lines are whole answers.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from dispatcher.model import JobState
from dispatcher.protocol import batch, batch_server
from dispatcher.protocol.answer import read_answer, success_body
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


def us(call: Callable[[], object]) -> float:
    """Microseconds a call takes."""
    times = timeit.repeat(call, number=CALLS, repeat=RUNS, timer=time.process_time)
    return min(times) / CALLS * 1e6


def measure(document: dict[str, Any]) -> tuple[int, float, float, float | None, float | None]:
    """Bytes of a message, and what checking it, its whole job, its body and its late body cost."""
    raw = orjson.dumps(document)
    entry, limits = [b"message", raw], DecodeLimits()
    job = decode_entry("demo", "normal", "1731000000123-4", entry, limits)
    check = us(lambda: read_message(raw))
    whole = us(lambda: decode_entry("demo", "normal", "1731000000123-4", entry, limits))
    if job.refusal is not None:
        return len(raw), check, whole, None, None
    again = msgspec.structs.replace(job, state=JobState(job.id, "normal", job.enqueued_at, sends=1))
    now = job.enqueued_at + 10
    return len(raw), check, whole, us(lambda: bodies([job], now)), us(lambda: bodies([again], now))


def main() -> None:
    print(f"{'message':30} {'bytes':>6} {'check':>8} {'job':>8} {'body':>8} {'late':>8}   us")
    checks = []
    for name, document in {**COMMON, **OTHER}.items():
        size, check, *rest = measure(document)
        if name in COMMON:
            checks.append(check)
        cells = "".join(f" {value:8.2f}" if value is not None else f" {'-':>8}" for value in (check, *rest))
        print(f"{name:30} {size:6}{cells}")
        if len(checks) == len(COMMON) and name in COMMON:
            print(f"{'average of these':30} {'':6} {sum(checks) / len(checks):8.2f}")
    answer = success_body("projects/demo/messages/0:1731000000123456%5f0e1d2c5f0e1d2c")
    print(f"{'answer of v1':30} {len(answer):6} {us(lambda: read_answer(200, None, None, answer)):8.2f}")
    parts = [batch_server.SubAnswer(str(number), 200, answer) for number in range(1, 501)]
    whole = batch_server.encode_response(parts, "b")
    global CALLS
    CALLS = 20
    each = us(lambda: batch.decode_response("multipart/mixed; boundary=b", whole, 500)) / 500
    print(f"{'answer of a batch, each of 500':30} {len(whole) // 500:6} {each:8.2f}")


if __name__ == "__main__":
    main()
