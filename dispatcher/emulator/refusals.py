"""FCM's refusals by name: what rules, states and limits can ask for (v1 wire rules, section 8)."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from math import ceil

from dispatcher.protocol.answer import error_info, fcm_error

Built = tuple[int, bytes]

_GOOGLE = "googleapis.com"
_SERVICE = {"service": "fcm.googleapis.com"}


def _missing_credentials(_: str) -> Built:
    text = (
        "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or "
        "other valid authentication credential."
    )
    return error_info(
        401, "UNAUTHENTICATED", text, reason="CREDENTIALS_MISSING", domain=_GOOGLE, metadata=_SERVICE
    )


def _expired_access(_: str) -> Built:
    text = "Request had invalid authentication credentials."
    return error_info(
        401, "UNAUTHENTICATED", text, reason="ACCESS_TOKEN_EXPIRED", domain=_GOOGLE, metadata=_SERVICE
    )


def _narrow_scope(_: str) -> Built:
    return error_info(
        403,
        "PERMISSION_DENIED",
        "Request had insufficient authentication scopes.",
        reason="ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        domain=_GOOGLE,
        metadata={**_SERVICE, "method": "google.firebase.fcm.v1.FcmService.SendMessage"},
    )


def _permission_denied(project: str) -> Built:
    permission = "cloudmessaging.messages.create"
    text = (
        f"Permission '{permission}' denied on resource "
        f"'//cloudresourcemanager.googleapis.com/projects/{project}' (or it may not exist)."
    )
    return error_info(
        403,
        "PERMISSION_DENIED",
        text,
        reason="IAM_PERMISSION_DENIED",
        domain="cloudresourcemanager.googleapis.com",
        metadata={"permission": permission},
    )


def _service_disabled(project: str) -> Built:
    text = f"Firebase Cloud Messaging API has not been used in project {project} before or it is disabled."
    metadata = {**_SERVICE, "consumer": f"projects/{project}"}
    return error_info(
        403, "PERMISSION_DENIED", text, reason="SERVICE_DISABLED", domain=_GOOGLE, metadata=metadata
    )


def _rate_limit(project: str) -> Built:
    text = (
        "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute' "
        "of service 'fcm.googleapis.com'."
    )
    metadata = {
        **_SERVICE,
        "quota_metric": "fcm.googleapis.com/send_requests",
        "quota_limit": "SendRequestsPerMinutePerProject",
        "quota_limit_value": "600000",
        "consumer": f"projects/{project}",
    }
    return error_info(
        429, "RESOURCE_EXHAUSTED", text, reason="RATE_LIMIT_EXCEEDED", domain=_GOOGLE, metadata=metadata
    )


_TOKEN_VIOLATION = [("message.token", "not a valid registration token")]

REFUSALS: dict[str, Callable[[str], Built]] = {
    "INVALID_ARGUMENT": lambda _: fcm_error(
        "INVALID_ARGUMENT", message="Request contains an invalid argument."
    ),
    "INVALID_REGISTRATION": lambda _: fcm_error("INVALID_ARGUMENT", violations=_TOKEN_VIOLATION),
    # The violation may be missing; then only a good twin proves the token at fault (section 8.1).
    "INVALID_REGISTRATION_BARE": lambda _: fcm_error("INVALID_ARGUMENT"),
    "UNREGISTERED": lambda _: fcm_error("UNREGISTERED"),
    "SENDER_ID_MISMATCH": lambda _: fcm_error("SENDER_ID_MISMATCH"),
    "THIRD_PARTY_AUTH_ERROR": lambda _: fcm_error(
        "THIRD_PARTY_AUTH_ERROR", apns=(403, "InvalidProviderToken")
    ),
    # One code for three quotas: a client that cannot read the violation must pause the target (section 8.4).
    "QUOTA_EXCEEDED": lambda _: fcm_error("QUOTA_EXCEEDED"),
    "QUOTA_EXCEEDED_PROJECT": lambda project: fcm_error(
        "QUOTA_EXCEEDED", quota=[(f"project:{project}", "per-minute message quota")]
    ),
    "QUOTA_EXCEEDED_DEVICE": lambda _: fcm_error(
        "QUOTA_EXCEEDED", quota=[("device", "per-device message quota")]
    ),
    "QUOTA_EXCEEDED_TOPIC": lambda _: fcm_error(
        "QUOTA_EXCEEDED", quota=[("topic", "per-topic message quota")]
    ),
    "UNAVAILABLE": lambda _: fcm_error("UNAVAILABLE"),
    "INTERNAL": lambda _: fcm_error("INTERNAL"),
    "UNSPECIFIED_ERROR": lambda _: fcm_error("UNSPECIFIED_ERROR"),
    # Without FcmError: these speak of the caller, never of a token.
    "CREDENTIALS_MISSING": _missing_credentials,
    "ACCESS_TOKEN_EXPIRED": _expired_access,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": _narrow_scope,
    "IAM_PERMISSION_DENIED": _permission_denied,
    "SERVICE_DISABLED": _service_disabled,
    "RATE_LIMIT_EXCEEDED": _rate_limit,
}
"""Each refusal's maker of (HTTP status, JSON), given the project."""

CHALLENGED = frozenset({"CREDENTIALS_MISSING", "ACCESS_TOKEN_EXPIRED"})
"""401s about our own access token, which carry WWW-Authenticate."""

_CHALLENGE = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
_NARROW = (
    'Bearer realm="https://accounts.google.com/", error="insufficient_scope", '
    'scope="https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/firebase.messaging"'
)


@lru_cache(maxsize=1024)
def refusal(name: str, project: str) -> Built:
    """HTTP status and JSON of a refusal; the same few are asked for over and over.

    Raises:
        KeyError: no such refusal.
    """
    return REFUSALS[name](project)


def extra_headers(name: str, retry_after: float | None, form: str, now: float) -> dict[str, str]:
    """The headers that go with a refusal beside its Content-Type.

    Args:
        name: of the refusal.
        retry_after: seconds; None: no Retry-After. Rounded up, so that nobody comes too early.
        form: `seconds` or `date`, the two forms of that header.
        now: Unix seconds.
    """
    headers = {"WWW-Authenticate": _CHALLENGE} if name in CHALLENGED else {}
    if name == "ACCESS_TOKEN_SCOPE_INSUFFICIENT":
        headers["WWW-Authenticate"] = _NARROW
    if retry_after is not None:
        dated = formatdate(ceil(now + retry_after), usegmt=True)
        headers["Retry-After"] = dated if form == "date" else str(ceil(retry_after))
    return headers
