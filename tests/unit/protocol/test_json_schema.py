"""The schemas in docs/ are those of the code, and take and refuse what the code does."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from dispatcher.cli.schemas import rendered
from dispatcher.model import Outcome, Status
from dispatcher.protocol.contract import JOB_FIELDS, OUTCOME_FIELDS
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.json_schema import SCHEMAS
from dispatcher.protocol.operation import OPERATIONS
from dispatcher.protocol.outcome import encode_outcomes
from dispatcher.protocol.submission import encode_message, encode_options, encode_tokens

FILES = Path(__file__).parents[3] / "docs/schemas"
DOCUMENTS = {name: make() for name, make in SCHEMAS.items()}
REGISTRY = Registry().with_resources(
    (name, Resource.from_contents(document)) for name, document in DOCUMENTS.items()
)


def takes(name, document):
    return Draft202012Validator(DOCUMENTS[name], registry=REGISTRY).is_valid(document)


def content(field):
    """What the string in this field of a job must hold."""
    schema = DOCUMENTS["job.json"]["properties"][field]["contentSchema"]
    return DOCUMENTS["message.json"] if field == "message" else schema


def test_the_files_are_those_of_the_code():
    found = {file.name: file.read_text(encoding="utf-8") for file in FILES.iterdir()}
    assert found == rendered(), "docs/schemas is stale: make docs"


@pytest.mark.parametrize("name", SCHEMAS)
def test_they_are_schemas(name):
    Draft202012Validator.check_schema(DOCUMENTS[name])


def test_they_have_every_field():
    assert list(DOCUMENTS["job.json"]["properties"]) == [field.name for field in JOB_FIELDS]
    assert set(DOCUMENTS["outcomes.json"]["items"]["properties"]) == {field.name for field in OUTCOME_FIELDS}


JOBS = {
    "the smallest": {"message": '{"token":"t"}'},
    "all options": {
        "message": "{}", "tokens": '["a"]', "id": "x", "deliver_at": "1731000000.5", "expires_at": "4102444800",
        "dedup_key": "k", "on_unknown": "give_up", "campaign": "c", "validate_only": "1", "attributes": "[1]",
        "traceparent": "00-0-0-0",
    },
    "a field nobody knows": {"message": '{"token":"t"}', "newer": "1"},
    "a group": {"message": "{}", "group": "key"},
}  # fmt: skip
WRONG = {
    "nothing": {},
    "milliseconds": {"message": '{"token":"t"}', "deliver_at": "1731000000000000"},
    "no such choice": {"message": '{"token":"t"}', "on_unknown": "maybe"},
    "a flag in words": {"message": '{"token":"t"}', "validate_only": "true"},
    "two kinds of targets": {"message": "{}", "tokens": '["a"]', "group": "key"},
    "attributes too large": {"message": '{"token":"t"}', "attributes": '"' + "x" * 1100 + '"'},
}


def refused(fields):
    flat = [text.encode() for pair in fields.items() for text in pair]
    return decode_entry("p", "normal", "1731000000000-0", flat, DecodeLimits()).refusal is not None


@pytest.mark.parametrize("what", JOBS)
def test_a_job_that_is_right(what):
    assert not refused(JOBS[what])
    assert takes("job.json", JOBS[what])


@pytest.mark.parametrize("what", WRONG)
def test_a_job_that_is_wrong(what):
    assert refused(WRONG[what])
    assert not takes("job.json", WRONG[what])


def test_what_our_producer_writes():
    options = encode_options(id="x", deliver_at=1.5, expires_at=4102444800.25, attributes={"a": 1})
    flat = [b"message", encode_message({"data": {"k": "v"}}), b"tokens", encode_tokens(["a"]), *options]
    texts = [value.decode() for value in flat]
    assert takes("job.json", dict(zip(texts[::2], texts[1::2], strict=True)))


def test_messages():
    for right in (
        {"token": "t"},
        {"topic": "news", "android": {"priority": "HIGH", "ttl": "3s"}},
        {"apns": {"payload": {}}},
    ):
        assert takes("message.json", right)
    for wrong in ({"tokn": "t"}, {"data": {"k": 1}}, {"notification": "Hi"}, []):
        assert not takes("message.json", wrong)


def test_tokens_within_their_string():
    validator = Draft202012Validator(content("tokens"))
    assert validator.is_valid(["a"] * 500)
    assert not any(map(validator.is_valid, ([], ["a"] * 501, [""], [1], "a")))


def test_operations():
    assert takes("job.json", {"operation": "token.info", "request": '{"token":"t"}'})
    assert not takes("job.json", {"operation": "topic.dance", "request": "{}"})
    assert not takes("job.json", {"operation": "token.info"})
    assert not takes("job.json", {"operation": "token.info", "request": "{}", "message": "{}"})
    assert len(DOCUMENTS["job.json"]["allOf"]) == len(OPERATIONS) + 1


def test_outcomes():
    plain = Outcome("j", 0, Status.ACCEPTED, 1, 1.5, 2.0, {"token": "t"}, message_id="m", http_status=200)
    written = json.loads(encode_outcomes([plain]))
    assert takes("outcomes.json", written)
    assert takes("outcomes.json", [{**written[0], "newer": 1}])
    assert not takes("outcomes.json", [{**written[0], "status": "lost"}])
    assert not takes("outcomes.json", written[0])
