"""Every exception this project raises, and whose fault each one is.

A refused *message* is a value (`model.Refusal`, `model.SendError`); an exception is for a failed *call*.

    DispatcherError
    +-- SettingsError        ours to report, the operator's to mend: exit code 2, one line
    +-- CredentialsError     a key that is missing, unreadable or refused by its token endpoint
    +-- QueueError           Redis
    |   +-- QueueUnavailable     cannot be reached, or is loading, read-only, failing over: try again later
    |   +-- QueueFull            it refuses writes for want of memory
    |   +-- QueueMisconfigured   it answers, but cannot do this work (version, policy, rights): do not try again
    +-- ProtocolError        a peer sent what no reader of the wire can accept
        +-- MultipartError       a multipart/mixed body out of shape
"""

from __future__ import annotations


class DispatcherError(Exception):
    """Anything this project raises on purpose; `str()` of it is one line that names the mend."""


class SettingsError(DispatcherError):
    """A setting is unknown, missing or out of range."""


class CredentialsError(DispatcherError):
    """An access token cannot be had: no key, an unreadable one, or one its token endpoint refuses.

    Attributes:
        permanent: whether trying again without a change of the key is useless (`invalid_grant`).
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class QueueError(DispatcherError):
    """Redis did not do what was asked."""


class QueueUnavailable(QueueError):  # noqa: N818 - reads as the state it reports
    """Redis cannot be reached or cannot serve at the moment; what was asked may or may not have happened."""


class QueueFull(QueueError):  # noqa: N818 - reads as the state it reports
    """Redis is at `maxmemory` and refuses writes that grow it; nothing was written."""


class QueueMisconfigured(QueueError):  # noqa: N818 - reads as the state it reports
    """Redis answers, but this installation of it cannot hold jobs safely or lacks a right we need."""


class ProtocolError(DispatcherError):
    """A peer's bytes break the rules of the wire."""


class MultipartError(ProtocolError):
    """A multipart/mixed body cannot be read at all (no boundary, no part)."""
