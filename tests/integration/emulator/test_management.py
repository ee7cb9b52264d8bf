"""The management services over real sockets: what an HTTP client and server make of paths, headers and bodies."""

import httpx
import pytest
from google.auth.transport.requests import Request as GoogleRequest
from google.oauth2 import service_account

from dispatcher.protocol import topic_subscription as v1
from dispatcher.protocol.call import bearer_headers, key_headers
from dispatcher.protocol.device_group import create_request, get_request, read_group
from dispatcher.protocol.instance_id import bulk_request, info_request, relation_request
from dispatcher.protocol.web_push import delete_request, import_request, read_import, refresh_request

SCOPE = ["https://www.googleapis.com/auth/firebase.messaging"]
SUBSCRIPTION = {"endpoint": "https://push.example.com/x", "keys": {"auth": "A" * 22, "p256dh": "B" * 87}}
TOKEN, TOPIC = "fQ7xK2tLmN8:APA91b+odd%3A", "50%-off"


@pytest.fixture
def strict(start):
    return start("--projects", "demo")


@pytest.fixture
def headers(strict) -> dict[str, str]:
    credentials = service_account.Credentials.from_service_account_file(
        strict.credentials["demo"], scopes=SCOPE
    )
    credentials.refresh(GoogleRequest())
    return bearer_headers(credentials.token) | {"project_id": strict.get("oauth")["numbers"]["demo"]}


@pytest.fixture(params=["1.1", "2"])
def client(request, strict, headers):
    http2 = request.param == "2"
    with httpx.Client(
        base_url=strict.url, headers=headers, http1=not http2, http2=http2, trust_env=False
    ) as client:
        yield client


def ask(client, call, **headers):
    return client.request(call.method, call.path, content=call.body, headers=headers)


def test_tokens_and_topics_arrive_as_they_are(strict, client) -> None:
    for call in (relation_request(TOKEN, TOPIC), v1.create_request("demo", f"{TOKEN}2", TOPIC)):
        assert ask(client, call).status_code == 200
    assert strict.get("topics", project="demo", topic=TOPIC)["subscribers"] == [TOKEN, f"{TOKEN}2"]
    known = ask(client, info_request(TOKEN, details=True)).json()
    assert list(known["rel"]["topics"]) == [TOPIC]
    assert ask(client, v1.delete_request("demo", f"{TOKEN}2", TOPIC)).status_code == 200
    assert ask(client, bulk_request(TOPIC, [TOKEN], remove=True)).json() == {"results": [{}]}
    assert strict.get("topics", project="demo")["topics"] == {TOPIC: 0}


def test_a_server_key_does_as_well(strict, client) -> None:
    (key,) = strict.get("oauth")["server_keys"]
    assert ask(client, bulk_request("news", ["a"]), **key_headers(key)).status_code == 200
    assert ask(client, bulk_request("news", ["a"]), **key_headers("wrong")).status_code == 401


def test_a_group_is_named_in_any_letters(client) -> None:
    name = "Grüße & more"
    created = ask(client, create_request(name, ["a"]))
    found = ask(client, get_request(name))
    assert read_group(found.status_code, None, None, found.content).result == created.content


def test_a_web_token_lives_and_ends(client) -> None:
    reply = ask(client, import_request(SUBSCRIPTION))
    token = read_import(reply.status_code, None, None, reply.content).replacement_token
    assert ask(client, refresh_request(token, SUBSCRIPTION)).json() == {"token": token}
    deleted = ask(client, delete_request(token))
    assert (deleted.status_code, deleted.content) == (204, b"")


def test_a_topic_message_reaches_its_members(strict, client) -> None:
    ask(client, bulk_request("news", ["b", "a"]))
    body = b'{"message":{"topic":"news"}}'
    assert client.post("/v1/projects/demo/messages:send", content=body).status_code == 200
    assert [row[-1] for row in strict.get("deliveries")["rows"]] == [["a", "b"]]
