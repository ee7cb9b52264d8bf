import pytest

from dispatcher.emulator.faults import Rule
from dispatcher.emulator.judge import WORD_OF_STATE, said, said_by_google, word_of
from dispatcher.emulator.refusals import REFUSALS
from dispatcher.protocol.instance_id import read_relation
from dispatcher.protocol.topic_subscription import read_create


@pytest.mark.parametrize("word", ["NOT_FOUND", "INVALID_ARGUMENT", "TOO_MANY_TOPICS"])
def test_a_call_about_one_token_says_what_a_bulk_call_has_a_word_for(word):
    ours, googles = said(word), said_by_google(word)
    assert read_relation(ours.status, None, None, ours.body).error.word == word
    assert read_create(googles.status, None, None, googles.body).error.word == word


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("PERMISSION_DENIED", 403),
        ("RESOURCE_EXHAUSTED", 429),
        ("INTERNAL", 500),
        ("UNAVAILABLE", 503),
        ("Odd", 400),
    ],
)
def test_every_word_has_its_status(word, status):
    assert said(word).status == said_by_google(word).status == status


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_every_refusal_of_fcm_can_be_told_in_one_word(name):
    assert word_of(Rule(error=name))


def test_a_bare_status_is_told_in_a_word_and_a_delay_in_none():
    assert [word_of(Rule(status=status)) for status in (404, 429, 418)] == [
        "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNKNOWN",
    ]  # fmt: skip
    assert word_of(Rule(delay=1.0)) == ""


def test_a_good_token_and_one_whose_apns_key_is_bad_can_be_managed():
    assert [state for state, word in WORD_OF_STATE.items() if not word] == ["registered", "apns-auth-error"]
