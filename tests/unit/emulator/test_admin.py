import orjson
import pytest

from dispatcher.emulator.app import Emulator
from dispatcher.emulator.credentials import server_key_of
from dispatcher.emulator.faults import Rule, Scenario
from dispatcher.emulator.wire import Request
from dispatcher.protocol.call import key_headers
from dispatcher.protocol.device_group import create_request
from dispatcher.protocol.instance_id import bulk_request


def emulator() -> Emulator:
    return Emulator(Scenario(auth="any"), clock=lambda: 1_731_000_000.0)


def asked(
    at_work: Emulator, method: str, path: str, body: object = None, query: str = ""
) -> dict[str, object]:
    text = b"" if body is None else orjson.dumps(body)
    reply = at_work.handle(Request(method, f"/_emulator/{path}", query, lambda _: None, text))
    return {"status": reply.status} | orjson.loads(reply.body)


def send(at_work: Emulator, *tokens: str) -> list[int]:
    header = {"authorization": "Bearer x"}.get
    return [
        at_work.handle(
            Request(
                "POST",
                "/v1/projects/demo/messages:send",
                "",
                header,
                b'{"message":{"token":"%b"}}' % token.encode(),
            )
        ).status
        for token in tokens
    ]


def test_it_tells_what_arrived() -> None:
    at_work = emulator()
    send(at_work, "a", "b", "a")
    assert asked(at_work, "GET", "summary")["accepted"] == 3
    assert asked(at_work, "GET", "counts", query="by=target&min=2") == {"status": 200, "token:a": 2}
    page = asked(at_work, "GET", "ledger", query="after=1&limit=1")
    assert (page["total"], page["next"]) == (3, 2)
    assert dict(zip(page["columns"], page["rows"][0], strict=True))["target"] == "b"


def test_the_ledger_can_be_cleared() -> None:
    at_work = emulator()
    send(at_work, "a")
    asked(at_work, "DELETE", "ledger")
    assert asked(at_work, "GET", "summary")["messages"] == 0


def test_faults_are_set_and_shown_with_what_they_did() -> None:
    at_work = emulator()
    asked(
        at_work,
        "PUT",
        "faults",
        {"auth": "any", "rules": [{"name": "down", "error": "UNAVAILABLE", "times": 1}]},
    )
    assert send(at_work, "a", "a") == [503, 200]
    shown = asked(at_work, "GET", "faults")
    assert shown["rules"] == [{"name": "down", "matched": 1, "fired": 1}]
    assert shown["scenario"]["rules"] == [{"name": "down", "error": "UNAVAILABLE", "times": 1}]


def test_tokens_change_their_state() -> None:
    at_work = emulator()
    asked(
        at_work,
        "PUT",
        "tokens",
        {"project": "demo", "tokens": {"a": "unregistered"}, "prefixes": {"x-": "invalid"}},
    )
    assert send(at_work, "a", "b", "x-1") == [404, 200, 400]
    assert asked(at_work, "GET", "tokens", query="project=demo") == {
        "status": 200,
        "counts": {"unregistered": 1, "registered": 1, "invalid": 1},
        "prefixes": {"x-": "invalid"},
        "marked": {"a": "unregistered", "x-1": "invalid"},
    }
    assert asked(at_work, "GET", "tokens", query="project=demo&token=b")["state"] == "registered"


def test_topics_keep_subscribers() -> None:
    at_work = emulator()
    asked(at_work, "PUT", "topics", {"project": "demo", "topic": "news", "subscribe": ["b", "a"]})
    asked(at_work, "PUT", "topics", {"project": "demo", "topic": "news", "unsubscribe": ["b"]})
    assert asked(at_work, "GET", "topics", query="project=demo")["topics"] == {"news": 1}
    assert asked(at_work, "GET", "topics", query="project=demo&topic=news")["subscribers"] == ["a"]


def test_the_token_endpoint_can_be_told_what_to_do() -> None:
    at_work = emulator()
    assert (
        asked(at_work, "PUT", "oauth", {"expires_in": 5, "refuse": "invalid_grant", "revoke": True})[
            "revoked"
        ]
        == 0
    )
    shown = asked(at_work, "GET", "oauth")
    assert (shown["expires_in"], shown["refuse"], shown["issued"]) == (5.0, "invalid_grant", 0)


def test_a_reset_begins_afresh_but_keeps_what_it_is_told_to_keep() -> None:
    at_work = Emulator(Scenario(auth="any", rules=[Rule(error="INTERNAL", times=1)]))
    assert send(at_work, "a", "a") == [500, 200]
    asked(at_work, "PUT", "tokens", {"project": "demo", "tokens": {"gone": "unregistered"}})
    asked(at_work, "POST", "reset", {"ledger": False, "registry": False})
    assert send(at_work, "a", "gone") == [500, 404]
    assert asked(at_work, "GET", "summary")["messages"] == 4
    asked(at_work, "POST", "reset")
    assert asked(at_work, "GET", "summary")["messages"] == 0
    assert send(at_work, "a", "gone") == [500, 200]


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "status", "word"),
    [
        ("GET", "nothing", None, "", 404, "GET summary"),
        ("DELETE", "summary", None, "", 405, "GET summary"),
        ("PUT", "faults", {"rules": [{"error": "NO_SUCH"}]}, "", 400, "NO_SUCH"),
        ("PUT", "faults", {"misspelt": 1}, "", 400, "misspelt"),
        ("PUT", "tokens", {"project": "demo", "tokens": {"a": "sleepy"}}, "", 400, "sleepy"),
        ("PUT", "topics", {"project": "demo"}, "", 400, "topic"),
        ("GET", "tokens", None, "", 400, "project="),
        ("GET", "counts", None, "by=colour", 400, "colour"),
        ("GET", "ledger", None, "after=-1", 400, "after"),
        ("GET", "ledger", None, "after=%C2%B2", 400, "after"),
        ("GET", "ledger", None, "after=" + "9" * 5000, 400, "after"),
    ],
)
def test_wrong_use_is_answered_with_a_sentence(
    method: str, path: str, body: object, query: str, status: int, word: str
) -> None:
    answer = asked(emulator(), method, path, body, query)
    assert answer["status"] == status
    assert word in answer["error"]


def test_it_is_healthy_and_names_its_projects() -> None:
    assert asked(emulator(), "GET", "health") == {"status": 200, "ok": True, "projects": []}


def test_it_tells_what_was_managed_and_whom_messages_reached(service) -> None:
    at_work = service()
    at_work.ask(bulk_request("news", ["a", "b"]))
    at_work.ask(create_request("user-771", ["b"]))
    at_work.send(b'{"message":{"topic":"news","data":{"id":"n-1"}}}')
    shown = at_work.emulator
    assert asked(shown, "GET", "topics", query="project=demo&topic=news")["subscribers"] == ["a", "b"]
    assert asked(shown, "GET", "groups", query="project=demo")["groups"]["user-771"]["members"] == ["b"]
    delivered = asked(shown, "GET", "deliveries", query="id=n-1")
    assert dict(zip(delivered["columns"], delivered["rows"][0], strict=True))["recipients"] == ["a", "b"]
    assert asked(shown, "GET", "deliveries", query="token=c")["rows"] == []
    calls = asked(shown, "GET", "calls", query="operation=topic.subscribe&limit=1")
    assert dict(zip(calls["columns"], calls["rows"][0], strict=True))["value"] == "a"
    assert calls["next"] == 1
    assert asked(shown, "GET", "summary")["management"]["tokens"] == {"topic.subscribe": 2, "group.create": 1}
    asked(shown, "DELETE", "ledger")
    assert asked(shown, "GET", "calls")["rows"] == []


def test_server_keys_are_shown_and_taken(service) -> None:
    at_work = service()
    assert asked(at_work.emulator, "GET", "oauth")["server_keys"] == {server_key_of("demo"): "demo"}
    asked(at_work.emulator, "PUT", "oauth", {"server_keys": {"AAAA:mine": "demo"}})
    assert at_work.ask(bulk_request("news", ["a"]), key_headers("AAAA:mine")).status == 200
