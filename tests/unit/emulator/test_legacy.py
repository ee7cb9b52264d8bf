"""POST /fcm/send: who may, what is answered to whom, and what the ledger keeps."""

from __future__ import annotations

from urllib.parse import urlencode

import orjson
import pytest

from dispatcher.emulator.app import Emulator
from dispatcher.emulator.faults import Limit, Rule, Scenario
from dispatcher.emulator.wire import Reply, Request

NOW = 1_731_000_000.0
KEY = "AAAAtest:key"


def emulator(*rules: Rule, **settings: object) -> Emulator:
    at_work = Emulator(Scenario(rules=list(rules), **settings), clock=lambda: NOW)
    at_work.state.authority.admit_key(KEY, "demo")
    return at_work


def call(at_work: Emulator, body: bytes, content_type: str | None, key: str = f"key={KEY}") -> Reply:
    headers = {"authorization": key, "content-type": content_type}
    return at_work.handle(Request("POST", "/fcm/send", "", headers.get, body))


def sent(at_work: Emulator, **document: object) -> dict[str, object]:
    reply = call(at_work, orjson.dumps(document), "application/json")
    assert reply.status == 200
    return orjson.loads(reply.body)


def rows(at_work: Emulator) -> list[tuple[str, str, str]]:
    return [(row.kind, row.target, row.code) for _, row in at_work.state.ledger.rows()]


def headers(reply: Reply) -> dict[str, str]:
    return dict(reply.headers)


@pytest.mark.parametrize("key", ["", "key=wrong", f"Bearer {KEY}", f"key= {KEY}", KEY])
def test_without_a_known_server_key_nothing_arrives(key: str) -> None:
    at_work = emulator()
    assert call(at_work, b'{"to":"t"}', "application/json", key).status == 401
    assert rows(at_work) == []
    assert at_work.state.ledger.summary()["refused_requests"] == {"legacy:401": 1}


def test_recipients_are_answered_in_their_order_by_their_state() -> None:
    at_work = emulator()
    registry = at_work.state.messages.registry
    registry.set_tokens(
        "demo", {"gone": "unregistered", "other": "wrong-sender", "apple": "apns-auth-error"}, {}
    )
    registry.project("demo").canonical["old"] = "new"
    answer = sent(at_work, registration_ids=["a", "gone", "b c", "other", "apple", "old"])
    words = [result.get("error", "") for result in answer["results"]]
    assert words == [
        "",
        "NotRegistered",
        "InvalidRegistration",
        "MismatchSenderId",
        "InvalidApnsCredential",
        "",
    ]
    assert (answer["success"], answer["failure"], answer["canonical_ids"]) == (2, 4, 1)
    assert answer["results"][5]["registration_id"] == "new"
    assert answer["multicast_id"] > 2**53
    assert [code for _, _, code in rows(at_work)][:2] == ["OK", "NotRegistered"]


def test_a_topic_is_answered_with_a_number_and_reaches_its_members() -> None:
    at_work = emulator()
    registry = at_work.state.messages.registry
    registry.token_state("demo", "a")
    registry.subscribe("demo", "news", ["a"])
    assert isinstance(sent(at_work, to="/topics/news")["message_id"], int)
    assert isinstance(sent(at_work, condition="'news' in topics")["message_id"], int)
    assert [row.recipients for _, row in at_work.state.ledger.rows()] == [("a",), ("a",)]


def test_a_group_says_who_of_it_failed() -> None:
    at_work = emulator(Rule(target="b", wire="legacy", error="Unavailable", times=1))
    group = at_work.state.groups.create("demo", "user", ["a", "b", "c"])
    at_work.state.messages.registry.set_tokens("demo", {"c": "unregistered"}, {})
    assert sent(at_work, to=group.key) == {
        "success": 1,
        "failure": 2,
        "failed_registration_ids": ["b", "c"],
    }
    assert rows(at_work) == [("group", group.key, "OK")]
    assert [row.recipients for _, row in at_work.state.ledger.rows()] == [("a",)]


def test_a_group_that_has_lost_its_last_member_is_empty() -> None:
    at_work = emulator()
    groups = at_work.state.groups
    group = groups.create("demo", "user", ["a"])
    groups.remove("demo", "user", group.key, ["a"])
    assert sent(at_work, to=group.key) == {"success": 0, "failure": 0}


def test_a_group_is_no_recipient_among_others() -> None:
    at_work = emulator()
    group = at_work.state.groups.create("demo", "user", ["a"])
    results = sent(at_work, registration_ids=["a", group.key])["results"]
    assert [result.get("error") for result in results] == [None, "InvalidRegistration"]


def test_a_check_delivers_nothing() -> None:
    at_work = emulator()
    assert sent(at_work, to="t", dry_run=True)["results"] == [{"message_id": "fake_message_id"}]
    assert rows(at_work) == [("token", "t", "VALIDATED")]


def test_plain_text_is_answered_in_plain_text() -> None:
    at_work = emulator()
    at_work.state.messages.registry.project("demo").canonical["old"] = "new"
    form = urlencode({"registration_id": "old", "data.k": "v"}).encode()
    reply = call(at_work, form, None)
    assert headers(reply)["content-type"].startswith("text/plain")
    first, second, _ = reply.body.decode().split("\n")
    assert first.startswith("id=0:")
    assert second == "registration_id=new"
    assert call(at_work, b"data.k=v", None).body == b"Error=MissingRegistration\n"


@pytest.mark.parametrize(
    ("document", "status", "word"),
    [
        ({}, 200, "MissingRegistration"),
        ({"to": "t", "time_to_live": -1}, 200, "InvalidTtl"),
        ({"to": "t", "data": {"from": "x"}}, 200, "InvalidDataKey"),
        ({"to": "t", "data": {"k": "x" * 5000}}, 200, "MessageTooBig"),
        ({"to": "/topics/t", "data": {"k": "x" * 3000}}, 200, "MessageTooBig"),
        ({"to": "t", "priority": "urgent"}, 400, "InvalidParameters"),
        ({"registration_ids": ["t"] * 1001}, 400, "InvalidParameters"),
    ],
)
def test_a_wrong_message_is_refused_in_fcm_s_words(document, status: int, word: str) -> None:
    reply = call(emulator(), orjson.dumps(document), "application/json")
    assert reply.status == status
    assert word.encode() in reply.body


def test_a_rule_is_about_one_recipient_and_the_wait_about_the_answer() -> None:
    rule = Rule(target="b", wire="legacy", error="Unavailable", retry_after=7)
    reply = call(emulator(rule), b'{"registration_ids":["a","b"]}', "application/json")
    results = orjson.loads(reply.body)["results"]
    assert "message_id" in results[0]
    assert results[1] == {"error": "Unavailable"}
    assert headers(reply)["retry-after"] == "7"


def test_refusals_of_today_are_told_in_the_words_of_then() -> None:
    answer = sent(emulator(Rule(error="QUOTA_EXCEEDED_DEVICE")), to="t")
    assert answer["results"] == [{"error": "DeviceMessageRateExceeded"}]


def test_a_rule_with_a_status_is_the_answer_to_all() -> None:
    at_work = emulator(Rule(target="b", status=502))
    assert call(at_work, b'{"registration_ids":["a","b"]}', "application/json").status == 502
    assert [code for _, _, code in rows(at_work)] == ["HTTP_502"] * 2


@pytest.mark.parametrize(
    ("rule", "status", "content"),
    [
        (Rule(per="request", wire="legacy", error="DeprecatedApi"), 200, b'"results":[{"error":"DeprecatedApi"}]'),
        (Rule(per="request", wire="legacy", error="Unavailable"), 503, b'{"error":"Unavailable"}'),
        (Rule(per="request", wire="legacy", status=404), 404, b"<html"),
        (Rule(per="request", error="ACCESS_TOKEN_EXPIRED"), 401, b"<html"),
    ],
)  # fmt: skip
def test_a_rule_for_requests_is_the_answer_to_the_whole_call(rule, status: int, content: bytes) -> None:
    at_work = emulator(rule)
    reply = call(at_work, b'{"registration_ids":["a","b"]}', "application/json")
    assert reply.status == status
    assert content in reply.body
    assert rows(at_work) == []


def test_devices_and_topics_have_limits() -> None:
    at_work = emulator(limits=[Limit(per_second=0.01, retry_after=60)])
    sent(at_work, to="t")
    assert sent(at_work, to="t")["results"] == [{"error": "DeviceMessageRateExceeded"}]
    sent(at_work, to="/topics/n")
    assert sent(at_work, to="/topics/n") == {"error": "TopicsMessageRateExceeded"}


def test_a_cut_recipient_cuts_the_connection() -> None:
    at_work = emulator(Rule(target="b", cut="before"))
    assert call(at_work, b'{"registration_ids":["a","b"]}', "application/json").cut
    assert [code for _, _, code in rows(at_work)] == ["OK", "CUT"]
