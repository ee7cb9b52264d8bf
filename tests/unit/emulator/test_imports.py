import orjson
import pytest

from dispatcher.emulator.faults import Rule
from dispatcher.protocol.apns_import import import_request as apns_request
from dispatcher.protocol.apns_import import read_import as read_apns
from dispatcher.protocol.instance_id import info_request
from dispatcher.protocol.web_push import (
    delete_request,
    import_request,
    read_delete,
    read_import,
    read_refresh,
    refresh_request,
)

A, B = "3f2a" * 16, "9bc1" * 16


def subscription(name="dQ8"):
    return {
        "endpoint": f"https://push.example.com/{name}",
        "expirationTime": None,
        "keys": {"auth": "A" * 22, "p256dh": "B" * 87},
    }


def imported(service, tokens, **options):
    reply = service.ask(apns_request("com.example.Orchard", tokens, **options))
    return read_apns(reply.status, None, None, reply.body, tokens)


def read(reader, reply):
    return reader(reply.status, None, None, reply.body)


def accepted(service, token):
    return service.send(orjson.dumps({"message": {"token": token}})).status == 200


def test_an_imported_token_works(service):
    at_work = service(unknown_tokens="unregistered")
    (found,) = imported(at_work, [A])
    assert accepted(at_work, found.replacement_token)
    assert not accepted(at_work, "never-imported")
    known = orjson.loads(at_work.ask(info_request(found.replacement_token)).body)
    assert (known["application"], known["platform"]) == ("com.example.Orchard", "IOS")


def test_the_same_apns_token_is_imported_as_the_same_token(service):
    at_work = service()
    first, again, other, sandbox = (
        imported(at_work, *given, **options)[0].replacement_token
        for given, options in [(([A],), {}), (([A.upper()],), {}), (([B],), {}), (([A],), {"sandbox": True})]
    )
    assert first == again
    assert len({first, other, sandbox}) == 3


def test_what_is_no_apns_token_is_refused_by_itself(service):
    good, bad = imported(service(), [A, "xyz"])
    assert good.replacement_token
    assert (bad.error.word, bad.error.reason) == (
        "IMPORT_REFUSED", "the import was refused: Invalid APNs token",
    )  # fmt: skip


@pytest.mark.parametrize("word", ["INTERNAL", "UNAVAILABLE"])
def test_a_rule_makes_the_service_stumble_over_a_token(service, word):
    at_work = service(Rule(wire="iid", kind="apns_token", target=A, error=word, times=1))
    assert imported(at_work, [A])[0].error.word == word
    assert imported(at_work, [A])[0].error is None


def test_more_than_a_hundred_are_too_many(service):
    assert {found.error.http_status for found in imported(service(), [A] * 101)} == {400}


def test_a_subscription_becomes_a_token_that_works_until_it_is_deleted(service):
    at_work = service()
    reply = at_work.ask(import_request(subscription()))
    token = read(read_import, reply).replacement_token
    assert reply.status == 201
    assert accepted(at_work, token)
    deleted = at_work.ask(delete_request(token))
    assert (deleted.status, deleted.body, read(read_delete, deleted).error) == (204, b"", None)
    assert not accepted(at_work, token)
    assert read(read_delete, at_work.ask(delete_request(token))).error.word == "NOT_FOUND"


def test_a_refresh_keeps_the_token_of_the_same_endpoint_and_replaces_that_of_another(service):
    at_work = service()
    token = read(read_import, at_work.ask(import_request(subscription()))).replacement_token
    same, other = (
        read(read_refresh, at_work.ask(refresh_request(token, subscription(name)))).replacement_token
        for name in ("dQ8", "new")
    )
    assert same == token
    assert other != token
    assert (accepted(at_work, token), accepted(at_work, other)) == (False, True)


@pytest.mark.parametrize(
    "keys",
    [{"auth": "A", "p256dh": "B" * 87}, {"auth": "A" * 22, "p256dh": "B" * 86}, {"auth": "ü", "p256dh": "B"}],
)
def test_keys_of_the_wrong_length_are_refused(service, keys):
    reply = service().ask(import_request({**subscription(), "keys": keys}))
    assert (reply.status, reply.body) == (400, b'{"error":"InvalidSubscription"}')


def test_a_deleted_token_follows_no_topic_any_more(service):
    at_work = service()
    token = read(read_import, at_work.ask(import_request(subscription()))).replacement_token
    at_work.registry.subscribe("demo", "news", [token])
    at_work.ask(delete_request(token))
    assert at_work.project.topics == {"news": set()}
