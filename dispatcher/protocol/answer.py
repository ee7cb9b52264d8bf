"""The v1 answer and error, both directions (v1 wire rules, sections 6 to 8).

Reading says what an answer holds, as facts; what follows from them is for the table in policy/. FCM's own error
is the `errorCode` of the FcmError detail and nothing else: the same HTTP status and the same human text stand for
a dead token and for a wrong project, so the text is kept for people only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import orjson

from dispatcher.model import Fate, SendError, SendResponse

_REASON_LENGTH = 300
_RETRY_AFTER_LIMIT = 1e9  # seconds, 31 years: no job lives longer, and no arithmetic overflows
_DURATION = re.compile(r"(\d{1,9})(\.\d{1,9})?s", re.ASCII)
_GOOGLE = "type.googleapis.com/"
_FCM_ERROR = "google.firebase.fcm.v1.FcmError"


class _Success(msgspec.Struct, gc=False):
    name: str


decode_success = msgspec.json.Decoder(_Success).decode
"""Reads the body of a 200; raises `msgspec.DecodeError` or `UnicodeDecodeError` unless it holds a `name`."""


def read_answer(status: int, retry_after: str | None, date: str | None, body: bytes) -> SendResponse:
    """Reads the answer to one message.

    Args:
        status: HTTP status of the answer or of the part.
        retry_after: its Retry-After header.
        date: the Date header of the (outer) answer, which an HTTP-date in `retry_after` is relative to.
        body: its JSON, or whatever a front end sent instead.

    Returns:
        FCM's name for the message; an error with fate `unknown` for a 2xx that does not say it.
    """
    if 200 <= status < 300:
        try:
            name = decode_success(body).name
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            name = ""
        if name:
            return SendResponse(name)
        return SendResponse(error=unknown(f"HTTP {status} without a message name: {_glance(body)}", status))
    return SendResponse(error=read_error(status, retry_after, date, body))


def unknown(reason: str, status: int = 0) -> SendError:
    """The error of a message that may or may not have gone out."""
    return SendError(Fate.UNKNOWN, http_status=status, reason=reason)


def read_error(
    status: int, retry_after: str | None, date: str | None, body: bytes, *, whole_request: bool = False
) -> SendError:
    """Reads an answer that is no success; accepts `{"error":{}}`, `[{"error":{}}]`, `{"error":"text"}` and anything else.

    The fate is always `answered`: whether a 500, 502 or 504 of a whole batch may hide accepted messages is
    for policy/ to say.

    Args:
        status: HTTP status.
        retry_after: Retry-After header.
        date: Date header, which an HTTP-date in `retry_after` is relative to.
        body: the body, of any kind.
        whole_request: it answers the whole request, not one message of a batch.
    """
    error = SendError(
        Fate.ANSWERED,
        http_status=status,
        retry_after=read_retry_after(retry_after, date),
        whole_request=whole_request,
    )
    found = _error_object(body)
    if found is None:
        error.reason = f"HTTP {status} without a JSON error: {_glance(body)}"
        return error
    error.is_json = True
    if isinstance(found, str):
        error.reason = found[:_REASON_LENGTH]
        return error
    error.rpc_status = _text(found.get("status"))
    notes = [_text(found.get("message"))]
    details = found.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            _read_detail(detail, error, notes)
    error.reason = "; ".join(note for note in notes if note)[:_REASON_LENGTH] or f"HTTP {status}"
    return error


def is_json_error(body: bytes) -> bool:
    """Whether a body holds a complete JSON error; false for one that broke off."""
    return _error_object(body) is not None


def read_retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds that a Retry-After header asks for.

    Args:
        value: whole seconds or an HTTP-date.
        date: the answer's own Date header; an HTTP-date means nothing without it.

    Returns:
        Seconds, 0 for a date in the past; None if it is absent or cannot be read.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:400]), _RETRY_AFTER_LIMIT)
    until, now = _moment(value), _moment(date)
    if until is None or now is None:
        return None
    return min(max(0.0, until - now), _RETRY_AFTER_LIMIT)


def _moment(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _error_object(body: bytes) -> dict[str, Any] | str | None:
    """What stands under `error`; None if the body is no JSON error."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(document, list) and document:
        document = document[0]  # the batch front end wraps its errors so
    found = document.get("error") if isinstance(document, dict) else None
    return found if isinstance(found, (dict, str)) else None


def _read_detail(detail: dict[str, Any], error: SendError, notes: list[str]) -> None:
    kind = _text(detail.get("@type")).rpartition("/")[2]
    if kind == _FCM_ERROR:
        error.fcm_code = _text(detail.get("errorCode"))
    elif kind == "google.rpc.ErrorInfo":
        error.error_info = _text(detail.get("reason"))
    elif kind == "google.rpc.BadRequest":
        for violation in _objects(detail.get("fieldViolations")):
            field = _text(violation.get("field"))
            error.violations = [*error.violations, field]
            notes.append(f"{field}: {_text(violation.get('description'))}")
    elif kind == "google.rpc.QuotaFailure":
        for violation in _objects(detail.get("violations")):
            named = (_text(violation.get("subject")), _text(violation.get("description")))
            error.quota_subjects = [*error.quota_subjects, *(text for text in named if text)]
            notes.append(" ".join(named))
    elif kind == "google.rpc.RetryInfo":
        match = _DURATION.fullmatch(_text(detail.get("retryDelay")))
        if match:  # both bind: each is a lower bound
            error.retry_after = max(error.retry_after or 0.0, float(match[0][:-1]))
    elif kind == "google.firebase.fcm.v1.ApnsError":
        notes.append(f"APNs {detail.get('statusCode')} {_text(detail.get('reason'))}")


def _objects(value: Any) -> Iterable[dict[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _glance(body: bytes) -> str:
    """The beginning of a body that is not what it should be, on one line."""
    return " ".join(body[:120].decode("utf-8", "replace").split()) or "no body"


# The server's side.

_HTTP_STATUS = {
    "INVALID_ARGUMENT": (
        400,
        "INVALID_ARGUMENT",
        "The registration token is not a valid FCM registration token",
    ),
    "UNREGISTERED": (404, "NOT_FOUND", "Requested entity was not found."),
    "SENDER_ID_MISMATCH": (403, "PERMISSION_DENIED", "SenderId mismatch"),
    "QUOTA_EXCEEDED": (429, "RESOURCE_EXHAUSTED", "Quota exceeded."),
    "UNAVAILABLE": (503, "UNAVAILABLE", "The service is currently unavailable."),
    "INTERNAL": (500, "INTERNAL", "Internal error encountered."),
    # The text is that of a bad access token, word for word: only the detail tells them apart.
    "THIRD_PARTY_AUTH_ERROR": (
        401,
        "UNAUTHENTICATED",
        (
            "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or "
            "other valid authentication credential."
        ),
    ),
    "UNSPECIFIED_ERROR": (500, "UNKNOWN", "An unspecified error occurred."),
}

FCM_CODES = tuple(_HTTP_STATUS)
"""Every `errorCode` that `fcm_error` can answer with."""


def success_body(name: str) -> bytes:
    """The JSON of a 200, laid out as Google does; `name` is the whole `projects/*/messages/*`."""
    return b'{\n  "name": ' + orjson.dumps(name) + b"\n}\n"


def fcm_error(
    code: str,
    *,
    message: str | None = None,
    violations: Iterable[tuple[str, str]] = (),
    quota: Iterable[tuple[str, str]] = (),
    apns: tuple[int, str] | None = None,
) -> tuple[int, bytes]:
    """FCM's answer with an FcmError detail, as (HTTP status, JSON).

    Args:
        code: one of `FCM_CODES`.
        message: human text in place of FCM's.
        violations: (field, description) of a BadRequest detail, as ("message.token", "not a valid ...").
        quota: (subject, description) of a QuotaFailure detail.
        apns: (status, reason) of an ApnsError detail.

    Raises:
        KeyError: no such code.
    """
    status, rpc_status, text = _HTTP_STATUS[code]
    details: list[dict[str, Any]] = [{"@type": _GOOGLE + _FCM_ERROR, "errorCode": code}]
    if apns is not None:
        kind = _GOOGLE + "google.firebase.fcm.v1.ApnsError"
        details.append({"@type": kind, "statusCode": apns[0], "reason": apns[1]})
    details += _violations("google.rpc.BadRequest", "fieldViolations", "field", violations)
    details += _violations("google.rpc.QuotaFailure", "violations", "subject", quota)
    return rpc_error(status, rpc_status, message or text, details)


def bad_request(message: str, violations: Iterable[tuple[str, str]]) -> tuple[int, bytes]:
    """The answer to a message that breaks the schema: a BadRequest detail and no FcmError at all."""
    details = _violations("google.rpc.BadRequest", "fieldViolations", "field", violations)
    return rpc_error(400, "INVALID_ARGUMENT", message, details)


def error_info(
    status: int, rpc_status: str, message: str, *, reason: str, domain: str, metadata: dict[str, str]
) -> tuple[int, bytes]:
    """An answer of Google's layers in front of FCM (credentials, rights, quota): an ErrorInfo detail, no FcmError."""
    kind = _GOOGLE + "google.rpc.ErrorInfo"
    return rpc_error(
        status,
        rpc_status,
        message,
        [{"@type": kind, "reason": reason, "domain": domain, "metadata": metadata}],
    )


def rpc_error(
    status: int,
    rpc_status: str,
    message: str,
    details: list[dict[str, Any]] | None = None,
    *,
    in_array: bool = False,
) -> tuple[int, bytes]:
    """Any error in Google's envelope, as (HTTP status, JSON); `in_array` as the batch front end wraps its own."""
    error: dict[str, Any] = {"code": status, "message": message, "status": rpc_status}
    if details:
        error["details"] = details
    document = {"error": error}
    return status, orjson.dumps([document] if in_array else document, option=orjson.OPT_INDENT_2) + b"\n"


def _violations(kind: str, name: str, key: str, pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    listed = [{key: first, "description": second} for first, second in pairs]
    return [{"@type": _GOOGLE + kind, name: listed}] if listed else []
