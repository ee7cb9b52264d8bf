from __future__ import annotations

import pytest
from redis import exceptions as theirs

from dispatcher.errors import QueueError, QueueFull, QueueMisconfigured, QueueUnavailable
from dispatcher.queue.faults import is_missing_group, mapped


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (theirs.ConnectionError("Connection refused"), QueueUnavailable),
        (theirs.TimeoutError("Timeout reading"), QueueUnavailable),
        (OSError("broken pipe"), QueueUnavailable),
        (RuntimeError("unable to perform operation on <TCPTransport closed=True>"), QueueUnavailable),
        (theirs.BusyLoadingError("Redis is loading the dataset in memory"), QueueUnavailable),
        (theirs.ReadOnlyError("You can't write against a read only replica."), QueueUnavailable),
        (theirs.ClusterDownError("CLUSTERDOWN The cluster is down"), QueueUnavailable),
        (theirs.TryAgainError("TRYAGAIN Multiple keys request during rehashing of slot"), QueueUnavailable),
        (theirs.ResponseError("MISCONF Redis is configured to save RDB snapshots"), QueueUnavailable),
        (theirs.ResponseError("NOREPLICAS Not enough good replicas to write."), QueueUnavailable),
        (theirs.ResponseError("BUSY Redis is busy running a script."), QueueUnavailable),
        (theirs.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), QueueFull),
        (
            theirs.ResponseError(
                "Error running script: -OOM command not allowed when used memory > 'maxmemory'."
            ),
            QueueFull,
        ),
        (theirs.AuthenticationError("WRONGPASS invalid username-password pair"), QueueMisconfigured),
        (
            theirs.ConnectionError(theirs.AuthenticationError("invalid username-password pair")),
            QueueMisconfigured,
        ),
        (theirs.ResponseError("NOAUTH Authentication required."), QueueMisconfigured),
        (
            theirs.NoPermissionError("this user has no permissions to run the 'eval' command"),
            QueueMisconfigured,
        ),
        (theirs.ResponseError("unknown command 'XADD'"), QueueMisconfigured),
        (theirs.ResponseError("WRONGTYPE Operation against a key"), QueueMisconfigured),
    ],
)
def test_each_error_says_whether_waiting_helps(error, ours):
    assert type(mapped(error)) is ours


def test_what_nobody_foresaw_is_a_plain_queue_error():
    assert type(mapped(theirs.ResponseError("ERR something new"))) is QueueError


def test_a_missing_group_is_told_from_other_refusals():
    assert is_missing_group(mapped(theirs.ResponseError("NOGROUP No such key 'k' or consumer group 'g'")))
    assert is_missing_group(mapped(theirs.ResponseError("UNBLOCKED the stream key no longer exists")))
    assert not is_missing_group(mapped(theirs.ResponseError("ERR something new")))
