"""dispatcher.policy.error_table"""

import re
from typing import get_args

import pytest

from dispatcher.model import Action, ErrorCode, Wire
from dispatcher.policy.error_table import ANY, TABLE, Step, When

every_wire = pytest.mark.parametrize("wire", get_args(Wire))


def conditions(wire="v1"):
    return [(row, when) for row in TABLE for when in row.column(wire)]


def test_no_two_rows_share_a_name():
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_every_row_of_the_table_can_be_reached_on_some_wire():
    assert all(any(row.column(wire) for wire in get_args(Wire)) for row in TABLE)


def words(wire):
    return {name for _, when in conditions(wire) if when.step is Step.WORD for name in when.names}


def test_every_error_string_of_legacy_http_is_listed():
    assert words("legacy") == {
        ANY,
        "MissingRegistration",
        "InvalidRegistration",
        "NotRegistered",
        "InvalidPackageName",
        "MismatchSenderId",
        "InvalidParameters",
        "MessageTooBig",
        "InvalidDataKey",
        "InvalidTtl",
        "Unavailable",
        "InternalServerError",
        "DeviceMessageRateExceeded",
        "TopicsMessageRateExceeded",
        "InvalidApnsCredential",
        "DeprecatedApi",
    }


def test_every_nack_code_is_listed():
    assert words("xmpp") == {
        ANY,
        "INVALID_JSON",
        "BAD_REGISTRATION",
        "DEVICE_UNREGISTERED",
        "SENDER_ID_MISMATCH",
        "BAD_ACK",
        "SERVICE_UNAVAILABLE",
        "INTERNAL_SERVER_ERROR",
        "DEVICE_MESSAGE_RATE_EXCEEDED",
        "TOPICS_MESSAGE_RATE_EXCEEDED",
        "CONNECTION_DRAINING",
        "INVALID_APNS_CREDENTIAL",
        "AUTHENTICATION_FAILED",
        "INVALID_TTL",
        "JSON_TYPE_ERROR",
        "QUOTA_EXCEEDED",
    }


def test_every_error_of_a_managed_token_is_listed():
    assert words("iid") == {
        ANY,
        "NOT_FOUND",
        "INVALID_ARGUMENT",
        "INTERNAL",
        "TOO_MANY_TOPICS",
        "NOT_CONFIGURED",
        "RESOURCE_EXHAUSTED",
        "PERMISSION_DENIED",
        "DEADLINE_EXCEEDED",
        "UNAVAILABLE",
        *("IMPORT_REFUSED", "GROUP_EXISTS", "GROUP_NOT_FOUND", "NO_VALID_MEMBERS"),
    }


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


@every_wire
def test_the_last_word_catches_any_status(wire):
    *_, (row, when) = conditions(wire)
    assert row.verdict.code is ErrorCode.UNKNOWN_ERROR
    assert when == When(Step.HTTP_STATUS, (ANY,))


@every_wire
def test_no_condition_is_shadowed_by_a_more_general_one_above_it(wire):
    seen = set()
    for _, when in conditions(wire):
        for name in when.names:
            assert (when.step, name) not in seen
            if when == When(when.step, when.names):
                seen.add((when.step, name))


@every_wire
def test_every_field_expression_compiles(wire):
    for _, when in conditions(wire):
        re.compile(when.field)


def test_what_waits_has_a_first_step_and_what_ends_has_none():
    for row in TABLE:
        ends = row.verdict.action in {Action.DROP_TOKEN, Action.WRONG_PROJECT, Action.FIX_REQUEST}
        assert (row.verdict.base == 0) is ends
