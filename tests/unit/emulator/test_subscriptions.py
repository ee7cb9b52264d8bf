import orjson
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from dispatcher.emulator.faults import Rule
from dispatcher.emulator.registry import Registry
from dispatcher.protocol import topic_subscription as v1
from dispatcher.protocol.condition import parse
from dispatcher.protocol.instance_id import (
    bulk_request,
    info_request,
    read_bulk,
    read_info,
    read_relation,
    relation_request,
)

STATES = {"gone": "unregistered", "bad": "invalid", "foreign": "wrong-sender", "ios": "apns-auth-error"}


def bulk(service, topic, tokens, *, remove=False):
    reply = service.ask(bulk_request(topic, tokens, remove=remove))
    return read_bulk(reply.status, dict(reply.headers).get("retry-after"), None, reply.body, len(tokens))


def words(responses):
    return [response.error.word if response.error else "" for response in responses]


def test_tokens_become_members_of_a_topic_and_leave_it_again(service):
    at_work = service()
    assert words(bulk(at_work, "news", ["a", "b"])) == ["", ""]
    assert words(bulk(at_work, "news", ["b", "never"], remove=True)) == ["", ""]
    assert at_work.project.topics == {"news": {"a"}}


def test_subscribing_is_idempotent_both_ways(service):
    at_work = service()
    for remove in (False, False, True, True):
        assert words(bulk(at_work, "news", ["a"], remove=remove)) == [""]
    assert at_work.project.topics == {"news": set()}


def test_each_token_is_answered_for_itself(service):
    at_work = service()
    at_work.registry.set_tokens("demo", STATES, {})
    found = bulk(at_work, "news", ["a", "gone", "bad", "foreign", "ios"])
    assert words(found) == ["", "NOT_FOUND", "INVALID_ARGUMENT", "PERMISSION_DENIED", ""]
    assert at_work.project.topics["news"] == {"a", "ios"}


@pytest.mark.parametrize("topic", ["a b", "ü", "x" * 901, ""])
def test_a_topic_out_of_the_pattern_is_refused(service, topic):
    assert service().ask(bulk_request(topic, ["a"])).status == 400
    assert service().ask(v1.create_request("demo", "a", topic)).status == 400


def test_a_private_topic_is_one_too(service):
    assert words(bulk(service(), "private/mine", ["a"])) == [""]


def test_a_token_follows_only_so_many_topics(service):
    at_work = service(topics_per_token=2)
    assert [words(bulk(at_work, topic, ["a"])) for topic in ("x", "y", "z", "x")] == [
        [""], [""], ["TOO_MANY_TOPICS"], [""],
    ]  # fmt: skip


def test_over_the_rate_the_rest_of_a_call_is_refused_and_then_whole_calls_until_it_is_refilled(service):
    at_work = service(subscriptions_per_s=3)
    assert words(bulk(at_work, "news", list("abcd"))) == ["", "", "", "RESOURCE_EXHAUSTED"]
    refused = bulk(at_work, "news", ["d"])[0].error
    assert (refused.http_status, refused.retry_after, refused.whole_request) == (429, 1.0, True)
    at_work.now += 1.0
    assert words(bulk(at_work, "news", ["d"])) == [""]
    assert at_work.project.topics["news"] == set("abcd")


def test_the_rate_also_holds_for_single_tokens(service):
    at_work = service(subscriptions_per_s=1)
    calls = [relation_request("a", "news"), v1.create_request("demo", "b", "news")]
    assert [at_work.ask(call).status for call in calls] == [200, 429]


def test_a_relation_is_made_for_one_token(service):
    at_work = service()
    at_work.registry.set_tokens("demo", STATES, {})
    ok, gone, bad = (at_work.ask(relation_request(token, "50%")) for token in ("a:b", "gone", "bad"))
    assert (ok.status, ok.body, gone.status, bad.status) == (200, b"{}", 404, 400)
    assert read_relation(gone.status, None, None, gone.body).error.word == "NOT_FOUND"
    assert read_relation(bad.status, None, None, bad.body).error.word == "INVALID_ARGUMENT"
    assert at_work.project.topics == {"50%": {"a:b"}}


def test_what_is_known_of_a_token_can_be_asked(service):
    at_work = service()
    bulk(at_work, "frost", ["a"])
    plain, detailed = (
        orjson.loads(read_info(200, None, None, at_work.ask(info_request("a", details=details)).body).result)
        for details in (False, True)
    )
    assert plain["authorizedEntity"] == at_work.bearer["project_id"]
    assert "rel" not in plain
    assert detailed["rel"] == {"topics": {"frost": {"addDate": "2026-03-02"}}}


def test_nothing_is_known_of_a_token_that_is_gone(service):
    at_work = service(unknown_tokens="unregistered")
    reply = at_work.ask(info_request("a"))
    assert read_info(reply.status, None, None, reply.body).error.word == "NOT_FOUND"


# topicSubscriptions.


def test_a_resource_is_created_once_shown_listed_and_deleted(service):
    at_work = service()
    first, again = (at_work.ask(v1.create_request("demo", "a:b", "news")) for _ in range(2))
    assert (first.status, again.status) == (200, 409)
    name = "projects/demo/registrations/a:b/topicSubscriptions/news"
    assert orjson.loads(first.body) == {
        "name": name, "topic_name": "news", "create_time": "2026-03-02T00:00:00Z",
    }  # fmt: skip
    base = "/v1/projects/demo/registrations/a%3Ab/topicSubscriptions"
    shown, listed = (at_work.ask(v1.Call("GET", path)) for path in (f"{base}/news", base))
    assert orjson.loads(shown.body)["name"] == name
    assert [item["name"] for item in orjson.loads(listed.body)["topicSubscriptions"]] == [name]
    assert at_work.ask(v1.delete_request("demo", "a:b", "news")).status == 200
    assert at_work.ask(v1.Call("GET", f"{base}/news")).status == 404
    assert at_work.ask(v1.delete_request("demo", "a:b", "news")).status == 200
    assert at_work.ask(v1.Call("DELETE", f"{base}/news")).status == 404


def test_a_resource_of_a_dead_token_is_not_found(service):
    at_work = service()
    at_work.registry.set_tokens("demo", STATES, {})
    reply = at_work.ask(v1.create_request("demo", "gone", "news"))
    assert v1.read_create(reply.status, None, None, reply.body).error.word == "NOT_FOUND"
    assert (
        at_work.ask(v1.Call("GET", "/v1/projects/demo/registrations/gone/topicSubscriptions")).status == 404
    )


# Scripted faults.


def test_a_rule_says_what_is_wrong_with_single_tokens(service):
    at_work = service(
        Rule(wire="iid", prefix="x", error="INTERNAL", times=1, retry_after=7),
        Rule(prefix="y", error="UNREGISTERED"),
        Rule(wire="iid", target="z", status=503),
    )
    found = bulk(at_work, "news", ["x1", "x2", "y", "z"])
    assert words(found) == ["INTERNAL", "", "NOT_FOUND", "UNAVAILABLE"]
    assert found[0].error.retry_after == 7.0


@pytest.mark.parametrize(("parts", "length"), [("drop", 1), ("duplicate", 3)])
def test_a_rule_spoils_the_results(service, parts, length):
    at_work = service(Rule(wire="iid", target="a", parts=parts))
    reply = at_work.ask(bulk_request("news", ["a", "b"]))
    assert len(orjson.loads(reply.body)["results"]) == length


def test_a_rule_takes_one_path_away(service):
    at_work = service(Rule(per="request", path="/iid/v1:batch", status=404))
    assert at_work.ask(bulk_request("news", ["a"])).status == 404
    assert at_work.ask(relation_request("a", "news")).status == 200


def test_a_rule_refuses_a_whole_call_in_the_services_words(service):
    at_work = service(Rule(per="request", wire="iid", error="RESOURCE_EXHAUSTED", retry_after=60))
    reply = at_work.ask(bulk_request("news", ["a"]))
    assert (reply.status, dict(reply.headers)["retry-after"]) == (429, "60")
    assert orjson.loads(reply.body) == {"error": "RESOURCE_EXHAUSTED"}


# Whom a message reaches.


def test_a_topic_reaches_its_registered_members(service):
    at_work = service()
    bulk(at_work, "news", ["b", "a", "c"])
    at_work.registry.set_tokens("demo", {"c": "unregistered"}, {})
    at_work.send(b'{"message":{"topic":"news"}}')
    at_work.send(b'{"message":{"topic":"news"},"validate_only":true}')
    assert at_work.recipients() == [["a", "b"]]


def test_a_condition_is_taken_from_left_to_right(service):
    at_work = service()
    for topic, tokens in {"a": ["1", "12"], "b": ["2", "12"], "c": ["3"]}.items():
        bulk(at_work, topic, tokens)
    at_work.send(b"{\"message\":{\"condition\":\"'a' in topics || 'b' in topics && 'c' in topics\"}}")
    at_work.send(b"{\"message\":{\"condition\":\"'c' in topics && 'b' in topics || 'a' in topics\"}}")
    assert at_work.recipients(kind="condition") == [[], ["1", "12"]]


def test_a_negation_reaches_who_follows_nothing(service):
    at_work = service()
    bulk(at_work, "a", ["1", "2"])
    at_work.registry.set_tokens("demo", {"3": "registered", "4": "unregistered"}, {})
    at_work.send(b'{"message":{"condition":"!(\'a\' in topics)"}}')
    assert at_work.recipients() == [["3"]]


@given(
    st.dictionaries(st.sampled_from("abc"), st.frozensets(st.sampled_from("123456"), max_size=6)),
    st.lists(st.sampled_from(["&&", "||"]), max_size=3),
    st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), min_size=4, max_size=4),
)
@limits(max_examples=60)
def test_a_condition_reaches_exactly_whom_it_holds_for(topics, operators, operands):
    registry = Registry()
    registry.set_tokens("p", dict.fromkeys("123456", "registered"), {})
    for topic, tokens in topics.items():
        registry.subscribe("p", topic, tokens)
    names = [f"{'!' * negated}'{topic}' in topics" for negated, topic in operands]
    text = names[0] + "".join(f" {op} {name}" for op, name in zip(operators, names[1:], strict=False))
    expected = [
        token
        for token in "123456"
        if parse(text).evaluate({topic for topic, tokens in topics.items() if token in tokens})
    ]
    assert list(registry.reached("p", "condition", text)) == expected
