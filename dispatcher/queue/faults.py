"""The client's and the server's errors, told in ours; the one place that knows their names and texts."""

from __future__ import annotations

from redis import exceptions as redis_errors

from dispatcher.errors import QueueError, QueueFull, QueueLockedOut, QueueMisconfigured, QueueUnavailable

REDIS_ERRORS = (
    redis_errors.RedisError,
    redis_errors.RedisClusterException,
    OSError,
    RuntimeError,
    AttributeError,
)
"""Everything the client raises for a failed call (its own timeouts and connection errors are RedisErrors, what it says
of a Cluster is not).

RuntimeError is uvloop's word for a write to a connection that was reset a moment ago; AttributeError the client's own, of
a connection that was closed between being chosen and being written to (it has no writer any more)."""

_LOGIN = (
    redis_errors.AuthenticationError,
    redis_errors.AuthenticationWrongNumberOfArgsError,
)
_NO_LOGIN = ("NOAUTH", "WRONGPASS")
_NO_RIGHT = (
    "NOPERM",
    "no permission",
    "No permission",
    "can't run this command",
    "can't access at least one",
)
"""What a missing right is called by the server, inside a script's error too."""
_CERTIFICATES = (
    # What OpenSSL calls it, and the mend.
    (
        "Hostname mismatch",
        "its certificate names another host: use that name in DISPATCHER_REDIS_URL",
    ),
    (
        "IP address mismatch",
        "its certificate names another host: use that name in DISPATCHER_REDIS_URL",
    ),
    ("certificate has expired", "its certificate has expired: renew it"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is signed by nobody known here: name the CA in DISPATCHER_REDIS_CA_FILE",
    ),
    ("WRONG_VERSION_NUMBER", "it speaks no TLS on this port: see scheme and port in DISPATCHER_REDIS_URL"),
    ("record layer failure", "it speaks no TLS on this port: see scheme and port in DISPATCHER_REDIS_URL"),
    (
        "CERTIFICATE_REQUIRED",
        "it asks its clients for a certificate: name one in DISPATCHER_REDIS_CERT_FILE (and DISPATCHER_REDIS_KEY_FILE)",
    ),
    (
        "UNKNOWN_CA",
        "it does not know who signed our certificate: see DISPATCHER_REDIS_CERT_FILE, or the server's tls-ca-cert-file",
    ),
)
_FULL = "when used memory > 'maxmemory'"  # the client cuts off the name (OOM) where it stands in front
# Error names as the server sends them; inside a script's error they stand in the middle of the text.
_TRY_LATER = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "MISCONF",
    "BUSY Redis",
    "UNBLOCKED",
    "read only replica",
    "You can't write against a read only",
)
_NEVER = (
    "WRONGTYPE",
    "unknown command",
    "Unknown subcommand",
    "max number of databases",
    "DB index is out of range",
)


RIGHTS_MEND = "grant what the table of rights in the README has (ACL SETUSER)"
COVERAGE_MEND = "bring its server back, or give the slot to another (redis-cli --cluster check HOST:PORT, then --cluster fix)"


def mapped(error: Exception) -> QueueError:
    """Our error for one of the client's; the text keeps what the server said."""
    if error.args and isinstance(error.args[0], redis_errors.RedisError):
        error = error.args[0]  # what went wrong while connecting comes wrapped as "cannot connect"
    text = str(error) or type(error).__name__
    if isinstance(error, _LOGIN) or any(sign in text for sign in _NO_LOGIN):
        mend = "see the login in DISPATCHER_REDIS_URL or DISPATCHER_REDIS_PASSWORD_FILE"
        return QueueLockedOut(f"Redis refuses this user: {text.rstrip('.')}; {mend}")
    if isinstance(error, redis_errors.NoPermissionError) or any(sign in text for sign in _NO_RIGHT):
        return QueueMisconfigured(f"Redis refuses this user a right: {text.rstrip('.')}; {RIGHTS_MEND}")
    for sign, mend in _CERTIFICATES:
        if sign in text:
            return QueueLockedOut(f"TLS with Redis fails: {mend}")
    if isinstance(error, redis_errors.SlotNotCoveredError) or "Hash slot not served" in text:
        return QueueUnavailable(f"the Redis Cluster has a slot that no server holds: {COVERAGE_MEND}")
    if _FULL in text:
        return QueueFull(f"Redis is full: {text}")
    if any(sign in text for sign in _NEVER):
        return QueueMisconfigured(f"Redis cannot do this: {text}")
    if isinstance(error, redis_errors.ResponseError) and not isinstance(
        error,
        redis_errors.ReadOnlyError
        | redis_errors.TryAgainError
        | redis_errors.ClusterDownError
        | redis_errors.AskError,
    ):
        if any(sign in text for sign in _TRY_LATER):
            return QueueUnavailable(f"Redis cannot serve now: {text}")
        return QueueError(f"Redis refused a command: {text}")
    return QueueUnavailable(f"Redis cannot be reached: {text}")


def kind(error: QueueError) -> str:
    """The label of an error in the metrics."""
    if isinstance(error, QueueFull):
        return "full"
    if isinstance(error, QueueMisconfigured):
        return "misconfigured"
    return "unavailable" if isinstance(error, QueueUnavailable) else "refused"


def is_missing_group(error: BaseException) -> bool:
    """Whether a read failed because a stream or its group is not there (any more)."""
    text = str(error)
    return "NOGROUP" in text or "UNBLOCKED" in text


def is_missing_script(error: BaseException) -> bool:
    """Whether the server has forgotten a script."""
    return isinstance(error, redis_errors.NoScriptError)
