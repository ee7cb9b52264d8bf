from __future__ import annotations

import pytest

from dispatcher.protocol.legacy_check import fault_of


@pytest.mark.parametrize(
    ("document", "word", "of_request"),
    [
        ({"collapse_key": 1}, "InvalidParameters", True),
        ({"dry_run": "yes"}, "InvalidParameters", True),
        ({"priority": "urgent"}, "InvalidParameters", True),
        ({"time_to_live": "60"}, "InvalidParameters", True),
        ({"time_to_live": True}, "InvalidParameters", True),
        ({"data": []}, "InvalidParameters", True),
        ({"notification": {"badge": [3]}}, "InvalidParameters", True),
        ({"notification": {"body_loc_args": [1]}}, "InvalidParameters", True),
        ({"time_to_live": -1}, "InvalidTtl", False),
        ({"time_to_live": 2_419_201}, "InvalidTtl", False),
        ({"data": {"from": "x"}}, "InvalidDataKey", False),
        ({"data": {"google.x": "x"}}, "InvalidDataKey", False),
        ({"data": {"k": "x" * 4096}}, "MessageTooBig", False),
    ],
)
def test_what_fcm_refuses_is_refused_in_its_words(document, word, of_request):
    fault = fault_of(document)
    assert (fault.word, fault.of_request) == (word, of_request)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": {"n": 1, "b": True}},
        {"notification": {"badge": 3}},
        {"notification": {"title": "t", "body_loc_args": ["a"], "title_loc_args": '["a"]'}},
        {"time_to_live": 0, "priority": "high", "dry_run": True, "delivery_receipt_requested": True},
        {"a_key_of_tomorrow": 1},
    ],
)
def test_what_fcm_takes_is_taken(document):
    assert fault_of(document) is None


def test_a_topic_takes_less():
    assert fault_of({"data": {"k": "x" * 3000}}, payload_limit=2048).word == "MessageTooBig"
