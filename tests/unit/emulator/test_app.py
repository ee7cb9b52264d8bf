from pathlib import Path

import pytest

from dispatcher.emulator.app import Emulator
from dispatcher.emulator.faults import Rule, Scenario
from dispatcher.emulator.oauth import Grant
from dispatcher.emulator.wire import Reply, Request
from dispatcher.protocol.answer import read_error

SEND = "/v1/projects/demo/messages:send"
BODY = b'{"message":{"token":"t"}}'


def emulator(*rules: Rule, **settings: object) -> Emulator:
    return Emulator(
        Scenario(rules=list(rules), **({"auth": "any"} | settings)), clock=lambda: 1_731_000_000.0
    )


def sent(at_work: Emulator, path: str = SEND, method: str = "POST", body: bytes = BODY) -> Reply:
    return at_work.handle(Request(method, path, "", {"authorization": "Bearer x"}.get, body))


def test_a_single_message_is_accepted_and_recorded() -> None:
    at_work = emulator()
    reply = sent(at_work)
    assert reply.status == 200
    assert reply.headers[0] == ("content-type", "application/json; charset=UTF-8")
    assert at_work.state.ledger.summary()["accepted"] == 1


def test_it_answers_after_the_latency_it_was_given() -> None:
    assert sent(emulator(latency=0.25)).delay == 0.25
    assert sent(emulator(Rule(delay=2.0), latency=0.25)).delay == 2.0


def test_without_a_believed_token_nothing_arrives() -> None:
    at_work = emulator(auth="strict")
    reply = sent(at_work)
    assert reply.status == 401
    assert dict(reply.headers)["www-authenticate"].endswith('error="invalid_token"')
    assert read_error(401, None, None, reply.body).error_info == "ACCESS_TOKEN_EXPIRED"
    assert len(at_work.state.ledger) == 0
    assert at_work.state.ledger.summary()["refused_requests"] == {"v1:401": 1}


@pytest.mark.parametrize("path", ["/", "/batch/v1", "/v1/projects/demo/messages", "/fcm/sent"])
def test_a_path_that_nobody_serves_is_googles_html_404(path: str) -> None:
    reply = sent(emulator(), path)
    assert reply.status == 404
    assert not read_error(404, None, None, reply.body).is_json


def test_the_token_endpoint_is_also_where_older_sdks_look_for_it() -> None:
    at_work = emulator()
    assert sent(at_work, "/token").body == sent(at_work, "/o/oauth2/token").body


def test_the_http_versions_of_requests_are_counted() -> None:
    at_work = emulator()
    at_work.handle(Request("POST", SEND, "", {"authorization": "Bearer x"}.get, BODY, version="2"))
    sent(at_work)
    assert at_work.state.ledger.summary()["http_versions"] == {"2": 1, "1.1": 1}


@pytest.mark.parametrize("path", [SEND, "/batch", "/token"])
def test_only_post_is_served(path: str) -> None:
    assert sent(emulator(), path, "GET").status == 405


@pytest.mark.parametrize("path", [SEND, "/batch"])
def test_a_rule_for_requests_refuses_the_whole(path: str) -> None:
    at_work = emulator(Rule(per="request", error="RATE_LIMIT_EXCEEDED", retry_after=9, times=1))
    reply = sent(at_work, path)
    assert reply.status == 429
    assert dict(reply.headers)["retry-after"] == "9"
    assert read_error(429, None, None, reply.body).error_info == "RATE_LIMIT_EXCEEDED"
    assert len(at_work.state.ledger) == 0


def test_a_rule_can_take_the_batch_endpoint_away() -> None:
    at_work = emulator(Rule(per="request", wire="batch", status=404))
    assert sent(at_work, "/batch").status == 404
    assert sent(at_work).status == 200


def test_a_rule_can_break_the_token_endpoint() -> None:
    at_work = emulator(Rule(per="request", wire="oauth", status=503, body="busy"))
    assert sent(at_work, "/token").status == 503


@pytest.mark.parametrize(("when", "arrived"), [("before", 0), ("after", 1)])
def test_a_cut_comes_before_or_after_the_message_arrived(when: str, arrived: int) -> None:
    at_work = emulator(Rule(per="request", cut=when))
    assert sent(at_work).cut
    assert at_work.state.ledger.summary()["accepted"] == arrived


def test_a_truncated_answer_was_accepted_all_the_same() -> None:
    at_work = emulator(Rule(truncate=10))
    assert sent(at_work).keep == 10
    assert at_work.state.ledger.summary()["accepted"] == 1


BATCH = (
    b"--b\r\nContent-Type: application/http\r\nContent-ID: <1>\r\n\r\n"
    b"POST /v1/projects/%s/messages:send HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"
    b'{"message":{"token":"t"}}\r\n--b--\r\n'
)


@pytest.mark.parametrize("wire", ["v1", "batch"])
@pytest.mark.parametrize(
    ("grant", "status", "reason"),
    [
        (Grant("demo", 1e10), 200, ""),
        (Grant("demo", 1.0), 401, "ACCESS_TOKEN_EXPIRED"),
        (Grant("demo", 1e10, sends=False), 403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
        (Grant("other", 1e10), 403, "IAM_PERMISSION_DENIED"),
    ],
)
def test_an_access_token_does_what_it_was_granted_for(
    wire: str, grant: Grant, status: int, reason: str
) -> None:
    at_work = emulator(auth="strict")
    at_work.state.authority.admit("x", grant)
    if wire == "v1":
        reply = sent(at_work)
        answer, found = reply.body, reply.status
    else:
        headers = {"authorization": "Bearer x", "content-type": "multipart/mixed; boundary=b"}
        reply = at_work.handle(Request("POST", "/batch", "", headers.get, BATCH % b"demo"))
        inner = reply.body.partition(b"HTTP/1.1 ")[2]
        # A bad token refuses the whole batch; what it may not do is said of each message.
        found = int(inner[:3]) if reply.status == 200 else reply.status
        answer = inner[inner.find(b"{") : inner.rfind(b"}") + 1] if reply.status == 200 else reply.body
    assert found == status
    if reason:
        assert read_error(status, None, None, answer).error_info == reason


def test_a_project_is_served_by_its_number_too(tmp_path: Path) -> None:
    at_work = emulator()
    at_work.state.enrol(tmp_path, "http://127.0.0.1:1", ["demo"])
    number = at_work.state.authority.numbers["demo"]
    reply = sent(at_work, f"/v1/projects/{number}/messages:send")
    assert reply.status == 200
    assert b"projects/demo/messages/" in reply.body
