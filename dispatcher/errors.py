"""Every exception this project raises, and whose fault each one is.

A refused *message* is a value (`model.Refusal`, `model.SendError`); an exception is for a failed *call*.

    DispatcherError
    +-- SettingsError        ours to report, the operator's to mend: exit code 2, one line
    +-- CredentialsError     a key that is missing, unreadable or refused by its token endpoint
    +-- QueueError           Redis
    |   +-- QueueUnavailable     cannot be reached, or is loading, read-only, failing over: try again later
    |   +-- QueueFull            it refuses writes for want of memory
    |   +-- QueueBusy            as many jobs wait as the producer wants there to be at most
    |   +-- QueueNotReplicated   it took the jobs, and too few replicas have them yet
    |   +-- QueueMisconfigured   it answers, but cannot do this work (version, policy, rights): do not try again
    |       +-- QueueLockedOut       it does not let us in by what the settings say; a SettingsError as well
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


class QueueBusy(QueueError):  # noqa: N818 - reads as the state it reports
    """The producer's own limit is reached: come back when the workers have caught up.

    Attributes:
        backlog: jobs of the project that wait or are in work.
        max_backlog: the limit.
        entries: of the jobs of this call that were enqueued before there was no room for more.
    """

    def __init__(self, project: str, backlog: int, max_backlog: int, entries: list[str]) -> None:
        done = f"{len(entries)} of this call are in" if entries else "nothing was enqueued"
        waiting = "1 job" if backlog == 1 else f"{backlog} jobs"
        super().__init__(
            f"busy: {waiting} of {project} {'waits' if backlog == 1 else 'wait'}, of at most {max_backlog}; {done}, "
            "try again later"
        )
        self.backlog = backlog
        self.max_backlog = max_backlog
        self.entries = entries


class QueueNotReplicated(QueueError):  # noqa: N818 - reads as the state it reports
    """The jobs are enqueued, but a failover now could lose them; enqueueing them again may send them twice.

    Attributes:
        reached: replicas that have them.
        wanted: replicas that were asked for.
        entries: all jobs of this call that are in.
    """

    def __init__(self, reached: int, wanted: int, entries: list[str]) -> None:
        super().__init__(
            f"jobs that are in: {len(entries)}; but only {reached} of {wanted} replicas confirmed in time: see the "
            "replicas' lag"
        )
        self.reached = reached
        self.wanted = wanted
        self.entries = entries


class QueueMisconfigured(QueueError):  # noqa: N818 - reads as the state it reports
    """Redis answers, but this installation of it cannot hold jobs safely or lacks a right we need."""


class QueueLockedOut(QueueMisconfigured, SettingsError):  # noqa: N818 - reads as the state it reports
    """Redis refuses the login, or the TLS that the settings ask for does not come about."""


class ProtocolError(DispatcherError):
    """A peer's bytes break the rules of the wire."""


class MultipartError(ProtocolError):
    """A multipart/mixed body cannot be read at all (no boundary, no part)."""


def untie(error: BaseException, outer: BaseException | None = None) -> None:
    """Forget the frames that an exception and its causes came through, and what these hold.

    Libraries keep an exception in local variables of the frames that raised it: a circle, in which a request lies until
    the garbage collector comes by, 2 MB each while a server is away.

    Args:
        error: one that is dealt with; what it says stays.
        outer: what was being handled when the failed call began (`sys.exception()`): the caller's, and not touched.
    """
    chain = [error]
    for one in chain:
        one.__traceback__ = None
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        for other in (one.__cause__, one.__context__, *members):
            if other is not None and other is not outer and other not in chain:
                chain.append(other)
