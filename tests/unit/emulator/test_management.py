import pytest

from dispatcher.emulator.faults import Rule
from dispatcher.emulator.oauth import Grant
from dispatcher.protocol.apns_import import import_request
from dispatcher.protocol.call import Call, bearer_headers, key_headers
from dispatcher.protocol.device_group import get_request
from dispatcher.protocol.instance_id import bulk_request, info_request, relation_request
from dispatcher.protocol.topic_subscription import create_request
from dispatcher.protocol.web_push import delete_request

CALLS = [
    info_request("a"),
    relation_request("a", "news"),
    bulk_request("news", ["a"]),
    import_request("app", ["3f2a" * 16]),
    delete_request("a"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.path)
def test_both_ways_to_prove_who_asks_are_taken(service, call):
    at_work = service()
    assert at_work.ask(call, at_work.key).status < 300
    assert service().ask(call).status < 300


@pytest.mark.parametrize("call", [*CALLS, get_request("g")], ids=lambda call: call.path)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer good"},
        {"Authorization": "Bearer good", "access_token_auth": "false"},
        key_headers("AAAA-nobodys"),
        key_headers(" padded"),
        bearer_headers("bad"),
        {"Authorization": "Basic x", "access_token_auth": "true"},
    ],
    ids=str,
)
def test_whoever_does_not_prove_it_is_refused(service, call, headers):
    at_work = service()
    reply = at_work.ask(call, headers)
    assert (reply.status, reply.body) == (401, b'{"error":"Unauthorized"}')
    assert at_work.state.calls.page(0, 10) == ([], None)
    assert at_work.state.ledger.refused == {"iid:401": 1}


def test_a_token_that_has_expired_or_is_for_something_else_is_refused(service):
    at_work = service()
    at_work.state.authority.admit("old", Grant("demo", 1.0))
    at_work.state.authority.admit("narrow", Grant("demo", 1e10, sends=False))
    assert at_work.ask(info_request("a"), bearer_headers("old")).status == 401
    assert at_work.ask(info_request("a"), bearer_headers("narrow")).status == 403


def test_the_resource_of_v1_wants_a_plain_bearer_token_for_its_project(service):
    at_work = service()
    assert at_work.ask(create_request("demo", "a", "news"), {"Authorization": "Bearer good"}).status == 200
    assert at_work.ask(create_request("demo", "a", "news"), at_work.key).status == 401
    assert at_work.ask(create_request("other", "a", "news")).status == 403


def test_where_any_token_is_believed_it_stands_for_the_first_project(service):
    at_work = service(auth="any")
    assert at_work.ask(bulk_request("news", ["a"]), bearer_headers("whatever")).status == 200
    assert at_work.ask(bulk_request("news", ["b"]), key_headers("whatever")).status == 200
    assert at_work.ask(bulk_request("news", ["c"]), {"Authorization": "Bearer whatever"}).status == 401
    assert at_work.project.topics == {"news": {"a", "b"}}


@pytest.mark.parametrize(
    "call",
    [
        Call("GET", "/iid/v1:batchAdd"),
        Call("DELETE", "/fcm/notification"),
        Call("GET", "/v1/web/iid"),
        Call("GET", "/iid/v1:batchImport"),
        Call("POST", "/iid/v1:batchSend"),
    ],
    ids=lambda call: f"{call.method} {call.path}",
)
def test_what_no_service_has_is_not_found(service, call):
    assert service().ask(call).status == 404


@pytest.mark.parametrize(("when", "done"), [("before", 0), ("after", 1)])
def test_a_cut_comes_before_or_after_it_was_done(service, when, done):
    at_work = service(Rule(per="request", wire="iid", cut=when))
    assert at_work.ask(bulk_request("news", ["a"])).cut
    assert len(at_work.project.topics.get("news", ())) == done


def test_an_answer_is_delayed_and_broken_off(service):
    at_work = service(Rule(wire="iid", target="a", delay=2.0, truncate=5), latency=0.5)
    reply = at_work.ask(bulk_request("news", ["a"]))
    assert (reply.delay, reply.keep) == (2.0, 5)
    assert at_work.ask(bulk_request("news", ["b"])).delay == 0.5


def test_a_reset_forgets_topics_groups_and_calls(service):
    at_work = service()
    at_work.ask(bulk_request("news", ["a"]))
    at_work.state.reset()
    assert at_work.state.calls.page(0, 1) == ([], None)
    assert at_work.state.messages.registry.project("demo").topics == {}
    assert at_work.ask(bulk_request("news", ["a"])).status == 200
    assert at_work.state.messages.registry.project("demo").topics == {"news": {"a"}}
