"""Management jobs are written as the README has them, and mistakes are told by name."""

import json

import pytest

from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.operation import OPERATIONS, encode_operation

RIGHT = {
    "topic.subscribe": {"topic": "news", "tokens": ["a"], "via": "v1"},
    "topic.unsubscribe": {"topic": "news", "tokens": ["a"] * 1000},
    "token.info": {"token": "t", "details": True},
    "apns.import": {"application": "com.example", "apns_tokens": ["x"] * 100, "sandbox": True},
    "webpush.import": {"subscription": {"endpoint": "https://example.com"}},
    "webpush.refresh": {"token": "t", "subscription": {"endpoint": "https://example.com"}},
    "webpush.delete": {"token": "t"},
    "group.create": {"name": "g", "tokens": ["a"]},
    "group.add": {"name": "g", "key": "k", "tokens": ["a"]},
    "group.remove": {"name": "g", "key": "k", "tokens": ["a"]},
    "group.get": {"name": "g"},
}


def test_every_operation_is_tried():
    assert set(RIGHT) == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_job_for_it(operation):
    fields = encode_operation(operation, RIGHT[operation], "mine")
    given = dict(zip(fields[::2], fields[1::2], strict=True))
    assert (given[b"operation"], given[b"id"]) == (operation.encode(), b"mine")
    assert json.loads(given[b"request"]) == RIGHT[operation]
    job = decode_entry("p", "normal", "1-0", fields, DecodeLimits())
    assert (job.id, job.refusal.code) == ("mine", "unsupported-operation")


@pytest.mark.parametrize(
    ("operation", "request_", "said"),
    [
        ("topic.dance", {}, "use one of topic.subscribe"),
        ("topic.subscribe", {"topic": "news"}, "required field `tokens`"),
        ("topic.subscribe", {"topic": "news", "tokens": []}, "length >= 1"),
        ("topic.subscribe", {"topic": "news", "tokens": ["a"] * 1001}, "length <= 1000"),
        ("topic.subscribe", {"topic": "news", "tokens": [""]}, r"\$\.tokens\[0\]"),
        ("topic.subscribe", {"topic": "news", "tokens": ["a"], "via": "pigeon"}, "via"),
        ("token.info", {"token": "t", "detials": 1}, "detials"),
        ("webpush.import", {"subscription": {"a": object()}}, "request"),
    ],
)
def test_a_mistake_is_told(operation, request_, said):
    with pytest.raises(ValueError, match=said):
        encode_operation(operation, request_)
