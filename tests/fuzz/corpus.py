"""Right inputs of every decoder, and the accidents that happen to them."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import orjson

from dispatcher.protocol import answer, batch, batch_server

GOLDEN = Path(__file__).parents[1] / "golden"

# Right inputs.

MESSAGES = [
    orjson.dumps(document)
    for document in (
        {"token": "fQ7x:APA91b", "notification": {"title": "Hi", "body": "Grüße ✓"}},
        {"token": "t", "data": {"k": "v", "l": "\n"}, "android": {"ttl": "3.5s", "priority": "high"}},
        {"topic": "/topics/news", "fcm_options": {"analytics_label": "l"}},
        {"condition": "'a' in topics && ('b' in topics || !('c' in topics))"},
        {"message": {"token": "t", "androidV2": {"ttl": "5s", "backgroundSync": {}}}},
        {
            "token": "t",
            "android": {
                "collapseKey": "c",
                "notification": {
                    "color": "#aabbcc",
                    "eventTime": "2026-01-31T08:00:00Z",
                    "visibility": "PUBLIC",
                    "notificationCount": 3,
                    "vibrateTimings": ["0.5s"],
                    "lightSettings": {"color": {"red": 1}, "lightOnDuration": "1s", "lightOffDuration": "2s"},
                },
            },
        },
        {
            "fid": "f",
            "webpush": {
                "headers": {"TTL": "60", "Urgency": "high"},
                "notification": {
                    "title": "w",
                    "actions": [{"action": "a", "title": "t"}],
                    "vibrate": [1, 2.5],
                },
                "fcm_options": {"link": "https://x"},
            },
            "apns": {
                "headers": {"apns-expiration": "1767225600", "apns-priority": "5"},
                "payload": {"aps": {"alert": {"loc-args": ["x"]}, "badge": 42, "sound": {"volume": 0.5}}},
                "live_activity_token": "x",
            },
        },
        {"data": {"k": "x" * 2500}, "topic": "news"},
    )
]
CONDITIONS = [
    b"'a' in topics",
    b"'a' in topics || 'b' in topics && 'c' in topics",
    b"!('a' in topics && ('b' in topics || !'c' in topics))",
    b" ( ( 'a'  IN\ttopics ) ) ",
]
JOBS = [
    [b"message", MESSAGES[0]],
    [b"message", MESSAGES[1], b"id", b"mine", b"expires_at", b"4102444800.5", b"attributes", b'{"a":1}'],
    [
        b"message",
        b'{"data":{"k":"v"}}',
        b"tokens",
        b'["a","b","c"]',
        b"campaign",
        b"c",
        b"on_unknown",
        b"give_up",
    ],
    [b"message", b"{}", b"group", b"key", b"validate_only", b"1", b"deliver_at", b"1731000000"],
    [
        b"message",
        b"{}",
        b"tokens",
        b'["a","b"]',
        b"_state",
        b'{"id":"1-0","lane":"high","at":1,"places":[0,2],"sends":1}',
    ],
    [
        b"operation",
        b"topic.subscribe",
        b"request",
        b"{}",
        b"new",
        b"\xff",
        b"dedup_key",
        b"d",
        b"traceparent",
        b"00-",
    ],
]
_BAD = [
    answer.fcm_error("UNREGISTERED"),
    answer.fcm_error("INVALID_ARGUMENT", violations=[("message.token", "no")]),
    answer.fcm_error("QUOTA_EXCEEDED", quota=[("project:p", "per minute")]),
    answer.fcm_error("THIRD_PARTY_AUTH_ERROR", apns=(403, "InvalidProviderToken")),
    answer.error_info(
        429, "RESOURCE_EXHAUSTED", "x", reason="RATE_LIMIT_EXCEEDED", domain="d", metadata={"a": "b"}
    ),
    answer.rpc_error(
        503, "UNAVAILABLE", "x", [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}]
    ),
    answer.rpc_error(401, "UNAUTHENTICATED", "x", in_array=True),
]
ANSWERS = [body for _, body in _BAD] + [
    answer.success_body("projects/p/messages/0:1%f"),
    b'{"error":"text"}',
    b"<html>502</html>",
]
RETRY_AFTER = [
    None,
    "0",
    "42",
    "Sun, 06 Nov 1994 08:50:37 GMT",
    "9" * 300,
    "-1",
    "soon",
    "Fri, 31 Dec 9999 23:59:59 GMT",
]
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
_PARTS = [batch_server.SubAnswer(str(number), *_BAD[number % len(_BAD)]) for number in range(1, 5)]
_PARTS[1] = batch_server.SubAnswer(
    "2", 200, answer.success_body("projects/p/messages/2"), {"Retry-After": "1"}
)
BATCH_ANSWERS = [
    batch_server.encode_response(_PARTS, "b"),
    batch_server.encode_response(
        [
            batch_server.SubAnswer(f"<x + {n}>", 200, answer.success_body(f"projects/p/messages/{n}"))
            for n in range(1, 5)
        ],
        "b",
    ),
    batch_server.encode_response(
        [batch_server.SubAnswer(None, 200, answer.success_body("n"))] * 4, "b"
    ).replace(b"\r\n", b"\n"),
]
BATCH_REQUESTS = [
    batch.encode_request("demo", [b'{"message":%b}' % body for body in MESSAGES[:3]], "b"),
    *(
        (GOLDEN / name).read_bytes().partition(b"\r\n\r\n")[2].replace(boundary, b"b")
        for name, boundary in (
            ("firebase-admin-node-sendAll.bin", b"__END_OF_PART__"),
            ("firebase-admin-python-send_all.bin", b"===============5984822146290072262=="),
        )
    ),
]
WORDS = [
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\r\n",
        b"\n",
        b"\r",
        b"--b",
        b"--b--",
        b"--",
        b"\x00",
        b"\xff",
    ),
    *(
        b"\\u0000",
        b"\\ud800",
        b"\\u003a",
        b"null",
        b"true",
        b"1e999",
        b"-1",
        b"0.1",
        b"9" * 25,
        b"\xc3\xa9",
        b"\xed\xa0\x80",
    ),
    *(
        b'"token"',
        b'"topic":',
        b'"message":',
        b'"data"',
        b'"android":',
        b'"apns"',
        b'"aps":',
        b'"ttl":"',
        b'"error":',
    ),
    *(
        b"Content-ID: 1",
        b"HTTP/1.1 200 OK",
        b"Content-Length: 9",
        b"'a' in topics",
        b" && ",
        b"(",
        b")",
        b"!",
        b"s",
    ),
    *(b"[" * 120, b'{"a":' * 60, b"{}", b"[]", b'""', b'"a":1,', b"\xef\xbb\xbf", b"1731000000", b"/topics/"),
]


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """`data` after one to four accidents."""
    held = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 2, 3, 4))):
        size = len(held)
        at = rng.randrange(size + 1)
        kind = rng.randrange(9)
        if kind == 0 and size:
            held[min(at, size - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            held[at:at] = rng.choice(WORDS)
        elif kind == 2:
            held[at : at + rng.randrange(1, 20)] = b""
        elif kind == 3:
            held[at : at + rng.randrange(1, 8)] = rng.choice(WORDS)
        elif kind == 4:
            del held[at:]
        elif kind == 5:
            piece = held[at : at + rng.randrange(1, 60)]
            held[at:at] = piece
        elif kind == 6:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            held[at : at + rng.randrange(30)] = other[start : start + rng.randrange(80)]
        elif kind == 7:
            held[at:at] = rng.randbytes(rng.randrange(1, 6))
        else:
            other = rng.choice(others)
            held = held[:at] + other[rng.randrange(len(other) + 1) :]
    return bytes(held)


STRANGE = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        42,
        2**31,
        2**63,
        1.5,
        1e300,
        "",
        "x",
        "1",
        "-1",
        "5s",
        "1e3s",
        "#aabbcc",
        "high",
    ),
    *(
        "https://x",
        "/topics/a",
        "a b",
        "\n--b",
        "é",
        "\u2028",
        "'a' in topics",
        "0" * 30,
        "x" * 4100,
        [],
        {},
        [[]],
        {"a": 1},
    ),
    *([None], ["x"], [1], {"": ""}, {"token": "t"}, {"aps": {"badge": "1"}}, {"from": "x"}, {"TTL": "60"}),
]
NAMES = [
    *(
        "token",
        "topic",
        "condition",
        "fid",
        "data",
        "android",
        "apns",
        "webpush",
        "notification",
        "ttl",
        "headers",
        "aps",
    ),
    *(
        "fcm_options",
        "fcmOptions",
        "collapseKey",
        "payload",
        "badge",
        "sound",
        "from",
        "google.x",
        "",
        "color",
        "message",
    ),
    *(
        "error",
        "details",
        "@type",
        "errorCode",
        "status",
        "fieldViolations",
        "violations",
        "retryDelay",
        "TTL",
        "x",
    ),
]


def strange(rng: random.Random) -> object:
    """A value that may be out of place; a new one each time, for it is built upon."""
    return copy.deepcopy(rng.choice(STRANGE))


def rearranged(data: bytes, rng: random.Random) -> bytes:
    """Valid JSON after one to three changes of names or values, written compactly or at length."""
    holder = [orjson.loads(data)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        place: list[object] | dict[str, object] = holder
        while True:
            keys = list(range(len(place))) if isinstance(place, list) else list(place)
            key = rng.choice(keys) if keys else None
            inner = place[key] if keys else None
            if isinstance(inner, (list, dict)) and inner and rng.random() < 0.75:
                place = inner
                continue
            break
        kind = rng.randrange(4)
        if isinstance(place, dict) and (kind == 0 or not keys):
            place[rng.choice(NAMES)] = strange(rng)
        elif isinstance(place, dict) and kind == 1:
            place[rng.choice(NAMES)] = place.pop(key)
        elif kind == 2 and place is not holder:
            del place[key]
        elif keys:
            place[key] = strange(rng)
    return orjson.dumps(holder[0], option=rng.choice((None, orjson.OPT_INDENT_2)))


def wrong(seeds: list[bytes], rng: random.Random) -> bytes:
    """One of these JSON texts, broken or with something else in it."""
    data = rng.choice(seeds)
    if rng.random() < 0.4 or data[:1] == b"<":
        return mutated(data, seeds, rng)
    return rearranged(data, rng)
