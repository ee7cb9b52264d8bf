from __future__ import annotations

from dispatcher.emulator.faults import Rule
from dispatcher.emulator.recipients import arrival_of, content_of, word_of


def test_a_row_holds_the_id_of_the_data_and_a_digest_that_recipients_share() -> None:
    document = {"data": {"id": "7"}, "registration_ids": ["a", "b"]}
    first, second = (arrival_of("demo", "token", value, content_of(document)) for value in "ab")
    assert (first.id, first.digest) == ("7", second.digest)
    assert arrival_of("demo", "token", "a", content_of({"data": {"id": "8"}})).digest != first.digest


def test_every_word_of_a_rule_for_the_legacy_wires_is_its_own() -> None:
    assert word_of(Rule(wire="legacy", error="InvalidPackageName")) == "InvalidPackageName"
    assert word_of(Rule(error="UNREGISTERED")) == "NotRegistered"
