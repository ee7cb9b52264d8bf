"""What a target is known by in the set of pauses."""

from typing import get_args

import pytest

from dispatcher.model import KIND_LETTERS, Target, TargetKind

KINDS = get_args(TargetKind)


def test_each_kind_has_a_letter_of_its_own():
    assert set(KIND_LETTERS) == set(KINDS)
    assert len(set(KIND_LETTERS.values())) == len(KINDS)
    assert all(len(letter) == 1 for letter in KIND_LETTERS.values())


def test_targets_of_one_value_and_of_one_kind_are_kept_apart():
    assert len({Target(kind, "news").key for kind in KINDS}) == len(KINDS)
    assert Target("topic", "news").key != Target("topic", "old").key


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_does_not_tell_the_target_and_is_short_however_long_that_is(kind):
    key = Target(kind, "secret" * 1000).key
    assert len(key) == 21
    assert "secret" not in key
