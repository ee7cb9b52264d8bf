from pathlib import Path

import orjson
import pytest

from dispatcher.emulator.app import Emulator
from dispatcher.emulator.faults import Rule, Scenario
from dispatcher.emulator.wire import Reply, Request
from dispatcher.protocol.answer import read_error
from dispatcher.protocol.batch import BatchAnswer, decode_response, encode_request
from dispatcher.protocol.multipart import boundary_of, read

GOLDEN = Path(__file__).parents[2] / "golden"


def emulator(*rules: Rule, auth: str = "any") -> Emulator:
    return Emulator(Scenario(auth=auth, rules=list(rules)), clock=lambda: 1_731_000_000.0)


def post(at_work: Emulator, body: bytes, boundary: str = "b", **headers: str) -> Reply:
    given = {"content-type": f"multipart/mixed; boundary={boundary}", "authorization": "Bearer x"} | headers
    return at_work.handle(Request("POST", "/batch", "", {k: v for k, v in given.items() if v}.get, body))


def bodies(count: int) -> list[bytes]:
    return [b'{"message":{"token":"t%d","data":{"id":"%d"}}}' % (n, n) for n in range(count)]


def header(reply: Reply, name: str) -> str | None:
    return dict(reply.headers).get(name)


def answer(reply: Reply, expected: int) -> BatchAnswer:
    assert reply.status == 200
    read_back = decode_response(header(reply, "content-type"), reply.body, expected)
    assert read_back is not None
    return read_back


def test_every_part_is_answered_in_order() -> None:
    at_work = emulator()
    responses = answer(post(at_work, encode_request("demo", bodies(500), "b")), 500).responses
    assert all(response.error is None for response in responses)
    assert len({response.message_id for response in responses}) == 500
    assert [row.target for _, row in at_work.state.ledger.rows()] == [f"t{n}" for n in range(500)]


def test_one_bad_part_does_not_touch_the_others() -> None:
    at_work = emulator(
        Rule(target="t1", error="UNREGISTERED"), Rule(target="t2", error="UNAVAILABLE", retry_after=7)
    )
    responses = answer(post(at_work, encode_request("demo", bodies(4), "b")), 4).responses
    assert [response.error.fcm_code if response.error else "" for response in responses] == [
        "", "UNREGISTERED", "UNAVAILABLE", "",
    ]  # fmt: skip
    assert responses[2].error.retry_after == 7.0


@pytest.mark.parametrize("name", ["firebase-admin-node-sendAll", "firebase-admin-python-send_all"])
def test_recorded_requests_of_official_sdks_are_served(name: str) -> None:
    head, _, body = (GOLDEN / f"{name}.bin").read_bytes().partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    lower = {key.lower(): value for key, value in headers.items()}
    at_work = emulator()
    reply = at_work.handle(Request("POST", "/batch", "", lower.get, body))
    responses = answer(reply, 3).responses
    assert [response.error for response in responses] == [None, None, None]
    assert [(row.kind, row.target) for _, row in at_work.state.ledger.rows()] == [
        ("token", "FAKE-TOKEN-0001"), ("topic", "news"), ("token", "FAKE-TOKEN-0003"),
    ]  # fmt: skip


def test_a_hand_made_request_without_ids_versions_and_crlf_is_served() -> None:
    part = (
        "--subrequest_boundary\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n"
        "Authorization: Bearer own\n\nPOST /v1/projects/demo/messages:send\nContent-Type: application/json\n\n"
        '{"message":{"token":"%s"}}\n\n'
    )
    body = (part % "a" + part % "b" + "--subrequest_boundary--\n").encode()
    reply = post(emulator(), body, "subrequest_boundary", authorization="")
    parts = read(reply.body, boundary_of(header(reply, "content-type"))).parts
    assert [part.headers["content-id"] for part in parts] == ["response-", "response-"]
    assert all(response.error is None for response in answer(reply, 2).responses)


def test_more_than_500_parts_are_refused_as_a_whole() -> None:
    at_work = emulator()
    reply = post(at_work, encode_request("demo", bodies(501), "b"))
    assert reply.status == 400
    error = read_error(400, None, None, reply.body)
    assert "Received: 501, Limit: 500" in error.reason
    assert isinstance(orjson.loads(reply.body), list)
    assert len(at_work.state.ledger) == 0


@pytest.mark.parametrize(
    "body", [b"", b"rubbish", b"--b--\r\n", b"--b\r\nContent-Type: application/http\r\n\r\nnothing\r\n--b--"]
)
def test_what_is_no_batch_is_refused_as_a_whole(body: bytes) -> None:
    reply = post(emulator(), body)
    assert reply.status == 400
    assert read_error(400, None, None, reply.body).rpc_status == "INVALID_ARGUMENT"


def test_a_bad_outer_token_refuses_the_whole() -> None:
    at_work = emulator(auth="strict")
    reply = post(at_work, encode_request("demo", bodies(3), "b"))
    assert reply.status == 401
    assert "invalid_token" in header(reply, "www-authenticate")
    assert read_error(401, None, None, reply.body).error_info == "ACCESS_TOKEN_EXPIRED"
    assert len(at_work.state.ledger) == 0


def test_a_part_with_a_bad_token_of_its_own_is_refused_alone() -> None:
    at_work = emulator()
    body = encode_request("demo", bodies(2), "b").replace(
        b"Content-Type: application/json\r\n",
        b"Content-Type: application/json\r\nAuthorization: Basic x\r\n",
        1,
    )
    responses = answer(post(at_work, body), 2).responses
    assert responses[0].error.error_info == "CREDENTIALS_MISSING"
    assert responses[1].error is None


def test_a_part_for_another_path_is_not_found() -> None:
    body = encode_request("demo", bodies(2), "b").replace(b"messages:send", b"messages:fly", 1)
    responses = answer(post(emulator(), body), 2).responses
    assert responses[0].error.http_status == 404
    assert responses[0].error.fcm_code == ""
    assert responses[1].error is None


def test_shuffled_parts_are_still_found_by_their_ids() -> None:
    at_work = emulator(Rule(target="t5", parts="shuffle"))
    reply = post(at_work, encode_request("demo", bodies(50), "b"))
    order = [
        part.headers["content-id"]
        for part in read(reply.body, boundary_of(header(reply, "content-type"))).parts
    ]
    assert order != sorted(order, key=lambda text: int(text.rpartition("-")[2]))
    assert all(response.error is None for response in answer(reply, 50).responses)


@pytest.mark.parametrize(("what", "count"), [("drop", 49), ("duplicate", 51)])
def test_parts_can_be_lost_and_doubled(what: str, count: int) -> None:
    at_work = emulator(Rule(per="request", parts=what))
    reply = post(at_work, encode_request("demo", bodies(50), "b"))
    assert len(read(reply.body, boundary_of(header(reply, "content-type"))).parts) == count
    assert len(at_work.state.ledger) == 50
