import orjson
import pytest

from dispatcher.emulator.faults import Rule
from dispatcher.protocol.device_group import (
    add_request,
    create_request,
    get_request,
    read_group,
    remove_request,
)


def asked(service, call, **headers):
    reply = service.ask(call, {**service.bearer, **headers} if headers else None)
    return read_group(reply.status, None, None, reply.body, removed=b'"remove"' in call.body)


def key_of(response):
    return orjson.loads(response.result)["notification_key"]


def created(service, *tokens, name="user-771"):
    return key_of(asked(service, create_request(name, list(tokens))))


def test_a_group_has_a_key_and_members_and_ends_with_the_last(service):
    at_work = service()
    key = created(at_work, "a", "b")
    assert key_of(asked(at_work, get_request("user-771"))) == key
    assert key_of(asked(at_work, add_request("user-771", key, ["c"]))) == key
    assert list(at_work.state.groups.of_key("demo", key).members) == ["a", "b", "c"]
    assert asked(at_work, remove_request("user-771", key, ["a", "b", "c"])).error is None
    assert asked(at_work, get_request("user-771")).error.word == "GROUP_NOT_FOUND"
    assert at_work.state.groups.of_key("demo", key) is None


def test_a_name_is_taken_once(service):
    at_work = service()
    created(at_work, "a")
    assert asked(at_work, create_request("user-771", ["b"])).error.word == "GROUP_EXISTS"
    assert created(at_work, "a", name="user-772")


def test_a_group_has_at_most_twenty_members(service):
    at_work = service()
    tokens = [f"t{n}" for n in range(21)]
    assert asked(at_work, create_request("big", tokens)).error.http_status == 400
    key = created(at_work, *tokens[:20], name="big")
    assert asked(at_work, add_request("big", key, tokens[:20])).error is None
    assert "at most 20" in asked(at_work, add_request("big", key, tokens)).error.reason


def test_only_registered_tokens_become_members(service):
    at_work = service()
    at_work.registry.set_tokens("demo", {"gone": "unregistered", "foreign": "wrong-sender"}, {})
    assert asked(at_work, create_request("g", ["gone", "foreign"])).error.word == "NO_VALID_MEMBERS"
    key = created(at_work, "a", "gone", name="g")
    assert list(at_work.state.groups.of_key("demo", key).members) == ["a"]
    assert asked(at_work, remove_request("g", key, ["gone"])).error.word == "NO_VALID_MEMBERS"


def test_a_name_protects_against_the_key_of_another_group(service):
    at_work = service()
    key = created(at_work, "a")
    assert "does not belong" in asked(at_work, add_request("other", key, ["b"])).error.reason
    assert asked(at_work, add_request("", key, ["b"])).error is None
    assert asked(at_work, add_request("user-771", "APA91bNoSuchKey", ["b"])).error.word == "GROUP_NOT_FOUND"


def test_a_message_to_a_key_reaches_the_members(service):
    at_work = service()
    key = created(at_work, "b", "a", "c")
    at_work.registry.set_tokens("demo", {"c": "unregistered"}, {})
    reply = at_work.send(orjson.dumps({"message": {"token": key}}))
    assert (reply.status, at_work.recipients(kind="group", target=key)) == (200, [["a", "b"]])
    assert at_work.recipients(token="b") == [["a", "b"]]
    assert at_work.recipients(token="c") == []


def test_a_message_to_a_key_that_ended_is_refused(service):
    at_work = service()
    key = created(at_work, "a")
    asked(at_work, remove_request("user-771", key, ["a"]))
    assert at_work.send(orjson.dumps({"message": {"token": key}})).status == 404


@pytest.mark.parametrize(("sender", "status"), [("", 400), ("demo", 403), ("884400112233", 403)])
def test_the_sender_is_named_by_its_number(service, sender, status):
    assert asked(service(), get_request("user-771"), project_id=sender).error.http_status == status


def test_a_rule_makes_the_service_stumble_over_a_group(service):
    at_work = service(Rule(wire="iid", kind="group_name", target="g", error="UNAVAILABLE", times=2))
    assert asked(at_work, create_request("g", ["a"])).error.http_status == 503
    assert asked(at_work, get_request("g")).error.http_status == 503
    assert created(at_work, "a", name="g")
