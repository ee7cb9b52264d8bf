"""Numbers read as people say them."""

import pytest

from dispatcher.cli.amount import amount, amounts


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (12345, "12,345 jobs")]
)
def test_one_is_singular_and_all_others_plural(number, said):
    assert amount(number, "job") == said


def test_a_noun_may_have_a_plural_of_its_own():
    assert amount(1, "message waits", "messages wait") == "1 message waits"
    assert amount(2, "message waits", "messages wait") == "2 messages wait"


def test_several_stand_in_a_row():
    assert amounts({}) == ""
    assert amounts({"blank": 1200, "repeated": 1}) == "1,200 blank, 1 repeated"
