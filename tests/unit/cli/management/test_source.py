"""Where management jobs take their tokens and subscriptions from."""

import json
from contextlib import closing

import pytest

from dispatcher.cli.management.source import Ask, Tokens, subscriptions
from dispatcher.cli.token_input import FileOptions
from dispatcher.errors import SettingsError

PUSH = {"endpoint": "https://push.example.com/s"}


def about(tokens):
    return {"tokens": tokens}


def test_named_tokens_are_taken_once_each_in_pieces():
    source = Tokens(["a", "b", "a", "c"], None, FileOptions())
    assert source.file is None
    assert list(source.asks(2, about)) == [Ask({"tokens": ["a", "b"]}, 2), Ask({"tokens": ["c"]}, 1)]


def test_those_of_a_file_tell_the_line_they_come_from(tmp_path):
    file = tmp_path / "users.txt"
    file.write_text("a\nb\nc\n")
    source = Tokens(None, file, FileOptions())
    with closing(source.file):
        assert list(source.asks(2, about)) == [
            Ask({"tokens": ["a", "b"]}, 2, 2),
            Ask({"tokens": ["c"]}, 1, 3),
        ]


@pytest.mark.parametrize("given", [[], ["a"]])
def test_options_or_a_file_but_not_both_or_none(given, tmp_path):
    with pytest.raises(
        SettingsError, match=r"give --apns-token \(several .* a file with --apns-tokens, one of"
    ):
        Tokens(given, tmp_path if given else None, FileOptions(), flag="--apns-token")


def test_a_subscription_alone_or_one_a_line_or_in_a_list(tmp_path):
    file = tmp_path / "subscriptions.json"
    for text, number in (
        (json.dumps(PUSH, indent=1), 1),
        (f"{json.dumps(PUSH)}\n" * 2, 2),
        (f"[{json.dumps(PUSH)}]", 1),
    ):
        file.write_text(text)
        found = list(subscriptions(file, "--subscription"))
        assert found == [Ask({"subscription": PUSH}, 1, line) for line in range(1, number + 1)]


def test_a_subscription_with_its_token_is_the_request(tmp_path):
    file = tmp_path / "changed.jsonl"
    row = {"token": "a", "subscription": PUSH}
    file.write_text(json.dumps(row))
    assert list(subscriptions(file, "--file", with_token=True)) == [Ask(row, 1, 1)]
