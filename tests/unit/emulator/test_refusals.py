import orjson
import pytest

from dispatcher.emulator.refusals import CHALLENGED, REFUSALS, extra_headers, refusal
from dispatcher.protocol.answer import read_error, read_retry_after

ABOUT_THE_CALLER = {
    "CREDENTIALS_MISSING",
    "ACCESS_TOKEN_EXPIRED",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
    "IAM_PERMISSION_DENIED",
    "SERVICE_DISABLED",
}


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_every_refusal_is_read_back_by_the_client_side(name: str) -> None:
    status, body = refusal(name, "demo-orchard-41")
    error = read_error(status, None, None, body)
    assert error.is_json
    assert error.http_status == status == orjson.loads(body)["error"]["code"]
    assert bool(error.fcm_code) is (name not in ABOUT_THE_CALLER | {"RATE_LIMIT_EXCEEDED"})
    assert bool(error.error_info) is not bool(error.fcm_code)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("UNREGISTERED", 404, "UNREGISTERED"),
        ("INVALID_REGISTRATION", 400, "INVALID_ARGUMENT"),
        ("SENDER_ID_MISMATCH", 403, "SENDER_ID_MISMATCH"),
        ("QUOTA_EXCEEDED", 429, "QUOTA_EXCEEDED"),
        ("QUOTA_EXCEEDED_DEVICE", 429, "QUOTA_EXCEEDED"),
        ("UNAVAILABLE", 503, "UNAVAILABLE"),
        ("INTERNAL", 500, "INTERNAL"),
        ("THIRD_PARTY_AUTH_ERROR", 401, "THIRD_PARTY_AUTH_ERROR"),
    ],
)
def test_status_and_code_are_those_of_fcm(name: str, status: int, code: str) -> None:
    error = read_error(*(refusal(name, "p")[0], None, None, refusal(name, "p")[1]))
    assert (error.http_status, error.fcm_code) == (status, code)


def test_a_quota_of_the_project_names_it() -> None:
    status, body = refusal("QUOTA_EXCEEDED_PROJECT", "demo-orchard-41")
    assert "project:demo-orchard-41" in read_error(status, None, None, body).quota_subjects


def test_an_invalid_token_is_named_by_a_violation_or_not_at_all() -> None:
    assert read_error(400, None, None, refusal("INVALID_REGISTRATION", "p")[1]).violations == [
        "message.token"
    ]
    assert read_error(400, None, None, refusal("INVALID_REGISTRATION_BARE", "p")[1]).violations == []


def test_only_refusals_of_the_access_token_carry_a_challenge() -> None:
    challenged = {name for name in REFUSALS if extra_headers(name, None, "seconds", 0.0)}
    assert challenged == {*CHALLENGED, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}
    narrow = extra_headers("ACCESS_TOKEN_SCOPE_INSUFFICIENT", None, "seconds", 0.0)["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in narrow


def test_retry_after_rounds_up_in_both_forms() -> None:
    assert extra_headers("UNAVAILABLE", 1.2, "seconds", 0.0) == {"Retry-After": "2"}
    dated = extra_headers("UNAVAILABLE", 1.2, "date", 1731000000.0)["Retry-After"]
    assert dated == "Thu, 07 Nov 2024 17:20:02 GMT"
    assert read_retry_after(dated, "Thu, 07 Nov 2024 17:20:00 GMT") == 2.0
