"""dispatcher.policy.error_table"""

import re

from dispatcher.model import Action, ErrorCode
from dispatcher.policy.error_table import ANY, TABLE, Step, When


def conditions():
    return [(row, when) for row in TABLE for when in row.v1]


def test_no_two_rows_share_a_name():
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_every_row_of_the_table_can_be_reached_on_v1():
    assert all(row.v1 for row in TABLE)


def test_every_fcm_code_of_the_v1_reference_is_listed():
    listed = {name for _, when in conditions() if when.step is Step.FCM_CODE for name in when.names}
    assert listed == {
        ANY,
        "UNSPECIFIED_ERROR",
        "INVALID_ARGUMENT",
        "UNREGISTERED",
        "SENDER_ID_MISMATCH",
        "QUOTA_EXCEEDED",
        "UNAVAILABLE",
        "INTERNAL",
        "THIRD_PARTY_AUTH_ERROR",
        "APNS_AUTH_ERROR",
    }


def test_the_last_word_catches_any_status():
    *_, (row, when) = conditions()
    assert row.verdict.code is ErrorCode.UNKNOWN_ERROR
    assert when == When(Step.HTTP_STATUS, (ANY,))


def test_no_condition_is_shadowed_by_a_more_general_one_above_it():
    seen = set()
    for _, when in conditions():
        for name in when.names:
            assert (when.step, name) not in seen
            if when == When(when.step, when.names):
                seen.add((when.step, name))


def test_every_field_expression_compiles():
    for _, when in conditions():
        re.compile(when.field)


def test_what_waits_has_a_first_step_and_what_ends_has_none():
    for row in TABLE:
        ends = row.verdict.action in {Action.DROP_TOKEN, Action.WRONG_PROJECT, Action.FIX_REQUEST}
        assert (row.verdict.base == 0) is ends
