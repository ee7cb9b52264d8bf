"""The import of APNs tokens, both directions: `POST /iid/v1:batchImport` (Instance ID rules, section 5).

Results are matched by APNs token, whose hexadecimal digits may come back in another case; by place only where none of
them names one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from dispatcher.model import Fate, SendError, SendResponse
from dispatcher.protocol.answer import read_retry_after
from dispatcher.protocol.call import Call, Denied, glance, read_failure, unknown_answer

PATH = "/iid/v1:batchImport"

IMPORT_LIMIT = 100
"""APNs tokens in one call."""

REFUSED = "IMPORT_REFUSED"
"""Our word for every `status` that neither is OK nor speaks of the service's own trouble; it is free text."""

_TROUBLES = (("unavailable", "UNAVAILABLE"), ("internal", "INTERNAL"))
_REASON_LENGTH = 300


# The client's side.


def import_request(application: str, apns_tokens: Sequence[str], *, sandbox: bool = False) -> Call:
    """Asks for a registration token for each of up to `IMPORT_LIMIT` APNs tokens.

    Args:
        application: the app's bundle id.
        apns_tokens: in hexadecimal.
        sandbox: they are of Apple's development environment.
    """
    body = {"application": application, "sandbox": sandbox, "apns_tokens": apns_tokens}
    return Call("POST", PATH, orjson.dumps(body))


class Imported(msgspec.Struct, gc=False):
    """One result of an import, as it stands in the answer; no text: the name is not there.

    Attributes:
        apns_token: which token it is about.
        status: `OK`, or free text on what went wrong.
        registration_token: the token to send to from now on.
    """

    apns_token: str = ""
    status: str = ""
    registration_token: str = ""


class _Results(msgspec.Struct, gc=False):
    results: list[Imported]


_decode_results = msgspec.json.Decoder(_Results).decode


def read_import(
    status: int, retry_after: str | None, date: str | None, body: bytes, apns_tokens: Sequence[str]
) -> list[SendResponse]:
    """Reads the answer to `import_request`.

    Args:
        status: HTTP status.
        retry_after: Retry-After header; that of a 200 counts for the tokens which failed.
        date: Date header, which an HTTP-date in `retry_after` is relative to.
        body: of any kind.
        apns_tokens: what was asked for.

    Returns:
        One response an APNs token, in their order, with its `replacement_token`. The fate of those that no result
        is about is `unknown`.
    """
    if status != 200:
        error = read_failure(status, retry_after, date, body)
        return [SendResponse(error=error)] * len(apns_tokens)
    try:
        results = _decode_results(body).results
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        lost = unknown_answer(200, f"HTTP 200 without results: {glance(body)}", whole_request=True)
        return [lost] * len(apns_tokens)
    wait = read_retry_after(retry_after, date)
    if len(results) == len(apns_tokens) and not any(result.apns_token for result in results):
        return [_response(result, wait) for result in results]
    by_token = {result.apns_token.lower(): result for result in results}
    lost = unknown_answer(200, "no result for this APNs token")
    return [
        _response(by_token[token.lower()], wait) if token.lower() in by_token else lost
        for token in apns_tokens
    ]


def _response(result: Imported, retry_after: float | None) -> SendResponse:
    text = result.status.lower()
    if text == "ok":
        if result.registration_token:
            return SendResponse(replacement_token=result.registration_token)
        return unknown_answer(200, "OK without a registration token")
    word = next((word for part, word in _TROUBLES if part in text), REFUSED)
    reason = result.status[:_REASON_LENGTH] or "no status"
    return SendResponse(
        error=SendError(
            Fate.ANSWERED,
            http_status=200,
            is_json=True,
            retry_after=retry_after,
            reason=f"the import was refused: {reason}",
            wire="iid",
            word=word,
        )
    )


# The server's side.


class Import(msgspec.Struct, frozen=True):
    """The body of an import."""

    application: str
    apns_tokens: list[str]
    sandbox: bool = False


_decode_import = msgspec.json.Decoder(Import).decode


def decode_import(body: bytes) -> Import | Denied:
    """Reads the body of an import as strictly as the service does."""
    try:
        found = _decode_import(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Denied("InvalidRequest")
    if not found.application:
        return Denied("MissingApplication")
    if not found.apns_tokens:
        return Denied("MissingApnsTokens")
    if len(found.apns_tokens) > IMPORT_LIMIT:
        return Denied("TooManyApnsTokens")
    return found


def encode_results(results: Sequence[Imported]) -> bytes:
    """The body of a 200; what a result does not hold is left out."""
    return orjson.dumps(
        {
            "results": [
                {name: value for name in result.__struct_fields__ if (value := getattr(result, name))}
                for result in results
            ]
        }
    )
