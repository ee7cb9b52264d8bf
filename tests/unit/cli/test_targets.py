"""Targets as operators write them."""

import pytest

from dispatcher.cli.targets import named, target_of
from dispatcher.errors import SettingsError
from dispatcher.model import Target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("topic:news", Target("topic", "news")),
        ("condition:'a' in topics && 'b' in topics", Target("condition", "'a' in topics && 'b' in topics")),
        ("fid:abc", Target("fid", "abc")),
        ("group:key", Target("group", "key")),
        ("token:topic:x", Target("token", "topic:x")),
        ("fQ7x:APA91b", Target("token", "fQ7x:APA91b")),
        ("news", Target("token", "news")),
        ("service:management", Target("token", "service:management")),
    ],
)
def test_a_kind_before_a_colon_or_a_token_as_it_is(text, target):
    assert target_of(text) == target


def test_a_kind_alone_names_nobody():
    with pytest.raises(SettingsError, match='found "topic:"; write it as topic:value'):
        target_of("topic:")


def test_secrets_are_only_begun_and_topics_written_out():
    assert named(Target("topic", "news")) == "topic news"
    assert named(Target("token", "fQ7xKd0aRk2:APA91b")).startswith("token fQ7xKd0a~")
    assert "x" * 41 not in named(Target("condition", "x" * 41))
