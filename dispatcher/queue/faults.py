"""The client's and the server's errors, told in ours; the one place that knows their names and texts."""

from __future__ import annotations

from redis import exceptions as redis_errors

from dispatcher.errors import QueueError, QueueFull, QueueMisconfigured, QueueUnavailable

REDIS_ERRORS = (redis_errors.RedisError, OSError, RuntimeError)
"""Everything the client raises for a failed call (its own timeouts and connection errors are RedisErrors).

RuntimeError is uvloop's word for a write to a connection that was reset a moment ago."""

_RIGHTS = (
    redis_errors.AuthenticationError,
    redis_errors.AuthorizationError,
    redis_errors.NoPermissionError,
    redis_errors.AuthenticationWrongNumberOfArgsError,
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
    "NOAUTH",
    "NOPERM",
    "WRONGPASS",
    "WRONGTYPE",
    "unknown command",
    "Unknown subcommand",
    "no permission",
    "No permission",
    "max number of databases",
    "DB index is out of range",
)


def mapped(error: Exception) -> QueueError:
    """Our error for one of the client's; the text keeps what the server said."""
    if error.args and isinstance(error.args[0], redis_errors.RedisError):
        error = error.args[0]  # what went wrong while connecting comes wrapped as "cannot connect"
    text = str(error) or type(error).__name__
    if isinstance(error, _RIGHTS):
        return QueueMisconfigured(f"Redis refuses this user: {text}")
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
