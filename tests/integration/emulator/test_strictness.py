"""What the service refuses, the emulator refuses, with the same JSON over either endpoint."""

import json
from typing import Any

import httpx
import pytest

from dispatcher.protocol import multipart

PATH = "/v1/projects/demo/messages:send"
BEARER = {"Authorization": "Bearer any"}
TOKEN = {"token": "t"}
TOPICS = " || ".join(f"'t{number}' in topics" for number in range(6))


def message(**fields: object) -> dict[str, Any]:
    return {"message": {**TOKEN, **fields}}


# Against the schema: a BadRequest that names the place, and no FcmError.
SCHEMA: list[tuple[dict[str, Any], str]] = [
    (message(colour="red"), "message"),
    (message(fcmOption={}), "message"),
    (message(android={"collapsekey": "k"}), "message.android"),
    (message(android={"notification": {"bodyLocKeys": "k"}}), "message.android.notification"),
    (message(android={"notification": {"body_loc_keys": "k"}}), "message.android.notification"),
    (message(apns={"fcmOptions": {"link": "x"}}), "message.apns.fcm_options"),
    (message(webpush={"fcm_options": {"image": "x"}}), "message.webpush.fcm_options"),
    ({"message": TOKEN, "extra": 1}, ""),
    ({"condition": "'a' in topics"}, ""),
    ({"message": {"token": "t", "topic": "news"}}, "message"),
    ({"message": {"topic": "news", "condition": "'a' in topics"}}, "message"),
    ({"message": {"token": "t", "fid": "f"}}, "message"),
    (message(data={"a": "1", "b": 17}), "message.data[1].value"),
    (message(data={"a": True}), "message.data[0].value"),
    (message(data={"a": None}), "message.data[0].value"),
    (message(data={"a": {"b": "c"}}), "message.data[0].value"),
    (message(android={"data": {"a": 1}}), "message.android.data[0].value"),
    (message(webpush={"headers": {"TTL": 15}}), "message.webpush.headers[0].value"),
    (message(apns={"headers": {"apns-priority": 10}}), "message.apns.headers[0].value"),
    (message(notification={"title": 5}), "message.notification.title"),
    (message(android={"ttl": 3600}), "message.android.ttl"),
    (message(notification="Hi"), "message.notification"),
    ({"message": {"token": 5}}, "message.token"),
    ({"message": TOKEN, "validate_only": "yes"}, "validate_only"),
]

# Against the rules: FCM's own INVALID_ARGUMENT.
RULES: list[tuple[dict[str, Any], str]] = [
    ({}, "message"),
    ({"message": {"data": {"k": "v"}}}, "message"),
    ({"message": {"token": ""}}, "message"),
    ({"message": {"topic": "two words"}}, "message.topic"),
    ({"message": {"topic": "/topics/news"}}, "message.topic"),
    ({"message": {"topic": "x" * 901}}, "message.topic"),
    ({"message": {"condition": "'a' in topics &&"}}, "message.condition"),
    ({"message": {"condition": "a in topics"}}, "message.condition"),
    ({"message": {"condition": "('a' in topics"}}, "message.condition"),
    ({"message": {"condition": "'/topics/a' in topics"}}, "message.condition"),
    ({"message": {"condition": TOPICS}}, "message.condition"),
    (message(data={"from": "x"}), "message.data.from"),
    (message(data={"message_type": "x"}), "message.data.message_type"),
    (message(data={"google.x": "x"}), "message.data.google.x"),
    (message(data={"gcm.notification.x": "x"}), "message.data.gcm.notification.x"),
    (message(data={"": "x"}), "message.data"),
    (message(data={"k": "x" * 4096}), "message"),
    (message(android={"ttl": "3600"}), "message.android.ttl"),
    (message(android={"ttl": "-1s"}), "message.android.ttl"),
    (message(android={"ttl": "2419201s"}), "message.android.ttl"),
    (message(android={"ttl": "1.0000000001s"}), "message.android.ttl"),
    (message(android={"priority": "urgent"}), "message.android.priority"),
    (message(android={"notification": {"color": "red"}}), "message.android.notification.color"),
    (message(webpush={"fcm_options": {"link": "http://x.example"}}), "message.webpush.fcm_options.link"),
    (message(fcm_options={"analytics_label": "a b"}), "message.fcm_options.analytics_label"),
]

# What looks odd and is taken: free objects, both spellings, unset fields.
TAKEN: list[dict[str, Any]] = [
    message(apns={"payload": {"aps": {"badge": "4"}, "anything": [None]}}),
    message(webpush={"notification": {"anyThing": {"goes": 1}}}),
    message(android={"collapseKey": "k", "ttl": "3.5s", "priority": "high"}, fcmOptions=None),
    message(data={"collapse_key": "x", "k": "x" * 4000}),
    message(name="output only", topic="", notification={}),
    {"message": {"topic": "a-Z0_.~%"}},
    {"message": {"condition": "!('a' in topics) && ('b' in topics || 'c' in TOPICS)"}},
    {"message": TOKEN, "validateOnly": True},
]


def singly(url: str, bodies: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    with httpx.Client(base_url=url, headers=BEARER, trust_env=False) as client:
        answers = [client.post(PATH, json=body) for body in bodies]
    return [(answer.status_code, answer.json()) for answer in answers]


def in_a_batch(url: str, bodies: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    head = f"POST {PATH} HTTP/1.1\r\nContent-Type: application/json\r\n\r\n".encode()
    parts = [({"Content-Type": "application/http"}, head + json.dumps(body).encode()) for body in bodies]
    headers = {"Content-Type": "multipart/mixed; boundary=b", **BEARER}
    answer = httpx.post(f"{url}/batch", content=multipart.write(parts, "b"), headers=headers, trust_env=False)
    boundary = multipart.boundary_of(answer.headers["content-type"])
    assert boundary
    read = []
    for part in multipart.read(answer.content, boundary).parts:
        halves = multipart.split_head(part.body)
        assert halves
        read.append((int(halves[0].split(b" ")[1]), json.loads(halves[1])))
    return read


@pytest.mark.parametrize("send", [singly, in_a_batch])
def test_what_breaks_the_schema_is_a_bad_request_and_no_fcm_error(emulator, send) -> None:
    for (body, field), (status, answer) in zip(
        SCHEMA, send(emulator.url, [b for b, _ in SCHEMA]), strict=True
    ):
        error = answer["error"]
        assert (status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT"), body
        assert [detail["@type"] for detail in error["details"]] == [
            "type.googleapis.com/google.rpc.BadRequest"
        ]
        assert [each["field"] for each in error["details"][0]["fieldViolations"]] == [field], body
    assert emulator.get("summary")["accepted"] == 0


@pytest.mark.parametrize("send", [singly, in_a_batch])
def test_what_breaks_a_rule_is_an_invalid_argument_of_fcms_own(emulator, send) -> None:
    for (body, field), (status, answer) in zip(RULES, send(emulator.url, [b for b, _ in RULES]), strict=True):
        error = answer["error"]
        assert (status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT"), body
        fcm, request = error["details"]
        assert fcm == {
            "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
            "errorCode": "INVALID_ARGUMENT",
        }
        assert [each["field"] for each in request["fieldViolations"]] == [field], body
    assert emulator.get("summary")["accepted"] == 0


@pytest.mark.parametrize("send", [singly, in_a_batch])
def test_what_only_looks_odd_is_taken(emulator, send) -> None:
    assert [status for status, _ in send(emulator.url, TAKEN)] == [200] * len(TAKEN)


def test_both_endpoints_refuse_with_the_same_json(emulator) -> None:
    bodies = [body for body, _ in SCHEMA + RULES]
    assert singly(emulator.url, bodies) == in_a_batch(emulator.url, bodies)
