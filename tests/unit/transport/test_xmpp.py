"""The names and stanzas of messages over XMPP."""

import orjson
import pytest

from dispatcher.model import JobState
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.xml_stream import StreamReader, header
from dispatcher.protocol.xmpp_server import read_sent
from dispatcher.transport.xmpp import _write, message_id_of


def job(stream="normal", entry_id="1731000000000-3", **fields):
    flat = [part for name, value in fields.items() for part in (name.encode(), value)]
    made = decode_entry("p", stream, entry_id, flat, DecodeLimits(legacy="xmpp"))
    assert made.refusal is None, made.refusal
    return made


def written(made, now=1731000001.0):
    """The payloads of a job's stanzas."""
    letters, responses = [], []
    _write(made, now, letters, responses)
    assert len(letters) == len(responses)
    reader = StreamReader()
    reader.feed(header("jabber:client", {}))
    return [
        orjson.loads(read_sent(element).body) for letter in letters for element in reader.feed(letter.stanza)
    ]


def test_a_message_in_legacy_keys_under_its_name():
    made = job(message=b'{"token":"t","notification":{"title":"<&>"},"android":{"ttl":"600s"}}')
    assert written(made) == [
        {
            "to": "t",
            "message_id": "normal-1731000000000-3-0",
            "time_to_live": 600,
            "notification": {"title": "<&>"},
        }
    ]


def test_each_recipient_has_a_name_of_its_own():
    made = job(message=b'{"data":{"k":"v"}}', tokens=b'["a","b"]')
    assert [(body["to"], body["message_id"]) for body in written(made)] == [
        ("a", "normal-1731000000000-3-0"),
        ("b", "normal-1731000000000-3-1"),
    ]


def test_a_retry_has_the_name_of_the_first_try():
    first = job(message=b'{"data":{"k":"v"}}', tokens=b'["a","b","c"]')
    state = JobState("1731000000000-3", "normal", 1731000000.0, sends=1, places=[2])
    again = job(
        "due",
        "1731000099999-0",
        message=b'{"data":{"k":"v"}}',
        tokens=b'["c"]',
        _state=orjson.dumps({"id": state.id, "lane": state.lane, "at": state.at, "sends": 1, "places": [2]}),
    )
    assert message_id_of(again, 0) == message_id_of(first, 2)


@pytest.mark.parametrize(
    "other",
    [job("high", message=b'{"token":"t"}'), job(entry_id="1731000000000-4", message=b'{"token":"t"}')],
)
def test_lanes_and_entries_share_no_names(other):
    assert message_id_of(other, 0) != message_id_of(job(message=b'{"token":"t"}'), 0)


def test_a_replay_is_another_message():
    made = job(message=b'{"token":"t"}')
    made.state = JobState(made.entry_id, "normal", 0.0, replay=1)
    assert message_id_of(made, 0) == "normal-1731000000000-3-0-r1"


def test_a_receipt_is_asked_for_where_the_job_does():
    made = job(message=b'{"token":"t"}', delivery_receipt=b"1")
    assert written(made)[0]["delivery_receipt_requested"] is True


def test_a_dry_run_is_one():
    assert written(job(message=b'{"token":"t"}', validate_only=b"1"))[0]["dry_run"] is True
