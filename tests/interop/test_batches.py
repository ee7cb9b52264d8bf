"""Batches between strangers: ours read by Python's email package and googleapiclient, the emulator's by both too."""

import asyncio
import email
import email.policy
import json
import time
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from typing import Any, NamedTuple

import httpx
import pytest

from dispatcher.model import Batch, Job
from dispatcher.protocol import multipart
from dispatcher.protocol.batch import encode_request
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.transport.batch import BatchTransport
from dispatcher.transport.session import Session
from dispatcher.transport.wire import Timeouts
from tests.interop.conftest import PROJECT, Client, Emulator

BOUNDARY = "batch_of_a_worker"
SEND = f"POST /v1/projects/{PROJECT}/messages:send HTTP/1.1"
TEXTS = [
    "plain",
    "Grüße ✓ 🎉 \u2028",
    f"\r\n--{BOUNDARY}\r\nContent-ID: 1\r\n\r\n",
    "From here\n.\n",
    'quote " backslash \\ tab \t',
    "",
]


class Sent(NamedTuple):
    """A request as it left the worker's transport."""

    content_type: str
    body: bytes


def jobs() -> list[Job]:
    """Entries as producers write them: single tokens, one multicast, plain and escaped JSON."""
    entries = [
        {"message": json.dumps({"token": f"t{number}", "notification": {"body": text}}, ensure_ascii=False)}
        for number, text in enumerate(TEXTS)
    ]
    entries += [
        {"message": json.dumps({"token": "escaped", "data": {"k": "Grüße 🎉"}})},
        {"message": '{ "data" : {"k":"v"}\r\n}', "tokens": json.dumps([f"m{n}" for n in range(100)])},
        {"message": '{"message":{"token":"dry"}}', "validate_only": "1"},
    ]
    now = int(time.time() * 1000)
    decoded = [
        decode_entry(
            PROJECT,
            "normal",
            f"{now}-{number}",
            [part.encode() for pair in entry.items() for part in pair],
            DecodeLimits(),
        )
        for number, entry in enumerate(entries)
    ]
    assert [job.refusal for job in decoded] == [None] * len(entries)
    return decoded


EXPECTED: list[dict[str, Any]] = [
    *({"message": {"token": f"t{n}", "notification": {"body": text}}} for n, text in enumerate(TEXTS)),
    {"message": {"token": "escaped", "data": {"k": "Grüße 🎉"}}},
    *({"message": {"token": f"m{n}", "data": {"k": "v"}}} for n in range(100)),
    {"validate_only": True, "message": {"token": "dry"}},
]


async def captured(use: Callable[[str], Awaitable[object]]) -> Sent:
    """What `use` posts to the address it is given."""
    arrived: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        original = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        arrived.set_result(Sent(original["Content-Type"], body))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        await use(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        return await arrived


@pytest.fixture
async def sent() -> Sent:
    """A batch on the wire, by the transport that the worker uses."""
    work = jobs()
    batch = Batch(PROJECT, "normal", work, sum(len(job.values) for job in work), 0, 1)

    async def use(url: str) -> None:
        async with Session() as session:
            transport = BatchTransport(session, url, BOUNDARY, Timeouts(), lambda *_: None)
            await transport.send(batch, "ya29.token", now=time.time(), at_once=1)

    return await captured(use)


def mime(content_type: str, body: bytes) -> EmailMessage:
    """The email package's view of a multipart body; strict: any defect raises."""
    policy = email.policy.HTTP.clone(raise_on_defect=True)
    whole = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=policy)
    assert isinstance(whole, EmailMessage)
    assert whole.get_content_type() == "multipart/mixed"
    return whole


def halves(part: EmailMessage) -> tuple[str, EmailMessage, bytes]:
    """First line, headers and body of the HTTP message in a part."""
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    line, rest = payload.split(b"\r\n", 1)
    inner = email.message_from_bytes(rest, policy=email.policy.HTTP)
    assert isinstance(inner, EmailMessage)
    content = inner.get_payload(decode=True)
    assert isinstance(content, bytes)
    return line.decode(), inner, content


async def test_the_email_package_reads_what_the_worker_sends(sent: Sent) -> None:
    parts = list(mime(*sent).iter_parts())
    assert [part["Content-ID"] for part in parts] == [str(number) for number in range(1, len(EXPECTED) + 1)]
    assert {part.get_content_type() for part in parts} == {"application/http"}
    for part, expected in zip(parts, EXPECTED, strict=True):
        line, headers, content = halves(part)
        assert line == SEND
        assert headers.get_content_type() == "application/json"
        assert json.loads(content) == expected


async def test_googleapiclient_reads_what_the_worker_sends(google: Client, sent: Sent) -> None:
    read = google("read", content_type=sent.content_type, body=sent.body.decode())
    assert read["defects"] == []
    assert [part["id"] for part in read["parts"]] == [str(number) for number in range(1, len(EXPECTED) + 1)]
    assert {(part["kind"], part["line"], part["type"]) for part in read["parts"]} == {
        ("application/http", SEND, "application/json")
    }
    assert [part["json"] for part in read["parts"]] == EXPECTED


async def test_the_emulator_takes_what_the_worker_sends(plain: Emulator, sent: Sent) -> None:
    plain.reset()
    plain.put("faults", {"auth": "any"})
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            plain.url + "/batch",
            content=sent.body,
            headers={"Content-Type": sent.content_type, "Authorization": "Bearer any"},
        )
    parts = list(mime(answer.headers["content-type"], answer.content).iter_parts())
    assert [part["Content-ID"] for part in parts] == [f"response-{n}" for n in range(1, len(EXPECTED) + 1)]
    for part in parts:
        line, headers, content = halves(part)
        assert line == "HTTP/1.1 200 OK"
        assert headers.get_content_type() == "application/json"
        assert json.loads(content)["name"].startswith(f"projects/{PROJECT}/messages/")
    assert plain.get("summary")["by_code"] == {"OK": len(EXPECTED) - 1, "VALIDATED": 1}


async def test_the_email_package_reads_refusals_of_the_emulator(plain: Emulator) -> None:
    plain.reset()
    plain.put(
        "faults",
        {"auth": "any", "rules": [{"target": "busy", "error": "QUOTA_EXCEEDED", "retry_after": 7}]},
    )
    plain.tokens(dead="unregistered")
    bodies = [b'{"message":{"token":"%s"}}' % token for token in (b"dead", b"alive", b"busy")]
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            plain.url + "/batch",
            content=encode_request(PROJECT, bodies, BOUNDARY),
            headers={"Content-Type": multipart.content_type(BOUNDARY), "Authorization": "Bearer any"},
        )
    read = [halves(part) for part in mime(answer.headers["content-type"], answer.content).iter_parts()]
    assert [line for line, _, _ in read] == [
        "HTTP/1.1 404 Not Found", "HTTP/1.1 200 OK", "HTTP/1.1 429 Too Many Requests",
    ]  # fmt: skip
    assert [headers["Retry-After"] for _, headers, _ in read] == [None, None, "7"]
    codes = [
        json.loads(content).get("error", {}).get("details", [{}])[0].get("errorCode") for *_, content in read
    ]
    assert codes == ["UNREGISTERED", None, "QUOTA_EXCEEDED"]


def test_googleapiclient_reads_the_answers_of_the_emulator_in_any_order(
    google: Client, plain: Emulator
) -> None:
    plain.reset()
    plain.rules(
        {"target": "busy", "error": "QUOTA_EXCEEDED", "retry_after": 60},
        {"prefix": "t", "parts": "shuffle"},
    )
    plain.tokens(dead="unregistered")
    tokens = [*(f"t{number}" for number in range(200)), "dead", "busy"]
    answers = google("send", project=PROJECT, messages=[{"token": token} for token in tokens])["answers"]
    assert list(answers) == [str(number) for number in range(1, 203)]
    names = [answers[str(number)]["json"]["name"] for number in range(1, 201)]
    assert len(set(names)) == 200
    assert (answers["201"]["status"], answers["202"]["status"]) == (404, 429)
    assert answers["201"]["json"]["error"]["details"][0]["errorCode"] == "UNREGISTERED"
    assert answers["202"]["headers"]["retry-after"] == "60"
    assert answers["202"]["headers"]["content-type"] == "application/json; charset=UTF-8"


def test_googleapiclient_finds_its_own_ids_again(google: Client, plain: Emulator) -> None:
    plain.reset()
    plain.tokens(dead="unregistered")
    ids = ["a b", "Grüße", "50%", "x+y", "n" * 90]  # quoted by the client; the long one is folded on the wire
    messages = [{"token": "dead" if name == "50%" else "alive", "data": {"id": name}} for name in ids]
    answers = google("send", project=PROJECT, messages=messages, ids=ids)["answers"]
    assert {name: answer["status"] for name, answer in answers.items()} == {
        name: 404 if name == "50%" else 200 for name in ids
    }


def test_googleapiclient_repeats_the_parts_answered_401_and_no_others(
    google: Client, plain: Emulator
) -> None:
    plain.reset()
    plain.tokens(apple="apns-auth-error")
    answers = google("send", project=PROJECT, messages=[{"token": "apple"}, {"token": "alive"}])["answers"]
    assert [answers[name]["status"] for name in ("1", "2")] == [401, 200]
    assert plain.get("counts") == {"token:apple": 2, "token:alive": 1}


def test_500_parts_are_taken_and_501_are_refused_as_a_whole(google: Client, plain: Emulator) -> None:
    plain.reset()
    answers = google("send", project=PROJECT, messages=[{"token": "t", "data": {"id": "é"}}] * 200)["answers"]
    assert {answer["status"] for answer in answers.values()} == {200}
    plain.reset()
    answers = google("send", project=PROJECT, messages=[{"token": f"t{n}"} for n in range(500)])["answers"]
    assert len(answers) == plain.get("summary")["accepted"] == 500
    refused = google("send", project=PROJECT, messages=[{"token": f"t{n}"} for n in range(501)])
    assert refused["refused"] == 400
    assert refused["json"][0]["error"]["message"] == (
        "Inner request count exceeds the limit. Received: 501, Limit: 500"
    )
    assert plain.get("summary")["accepted"] == 500
