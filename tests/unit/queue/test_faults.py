from __future__ import annotations

import pytest
from redis import exceptions as theirs

from dispatcher.errors import (
    QueueError,
    QueueFull,
    QueueLockedOut,
    QueueMisconfigured,
    QueueUnavailable,
    SettingsError,
)
from dispatcher.queue.faults import is_missing_group, mapped


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (theirs.ConnectionError("Connection refused"), QueueUnavailable),
        (theirs.TimeoutError("Timeout reading"), QueueUnavailable),
        (OSError("broken pipe"), QueueUnavailable),
        (RuntimeError("unable to perform operation on <TCPTransport closed=True>"), QueueUnavailable),
        (AttributeError("'NoneType' object has no attribute 'writelines'"), QueueUnavailable),
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
        (theirs.AuthenticationError("WRONGPASS invalid username-password pair"), QueueLockedOut),
        (
            theirs.ConnectionError(theirs.AuthenticationError("invalid username-password pair")),
            QueueLockedOut,
        ),
        (theirs.ResponseError("NOAUTH Authentication required."), QueueLockedOut),
        (
            theirs.NoPermissionError("this user has no permissions to run the 'eval' command"),
            QueueMisconfigured,
        ),
        (
            theirs.ResponseError("The user executing the script can't run this command or subcommand"),
            QueueMisconfigured,
        ),
        (
            theirs.ResponseError(
                "The user executing the script can't access at least one of the keys mentioned"
            ),
            QueueMisconfigured,
        ),
        (theirs.ResponseError("unknown command 'XADD'"), QueueMisconfigured),
        (theirs.SlotNotCoveredError('Slot "7" is not covered by the cluster.'), QueueUnavailable),
        (theirs.ClusterDownError("Hash slot not served"), QueueUnavailable),
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


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer",
            "REDIS_CA_FILE",
        ),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not valid for 'a'",
            "use that name",
        ),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] IP address mismatch, certificate is not valid for '::1'",
            "use that name",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "renew it"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "speaks no TLS"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "REDIS_CERT_FILE"),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", "who signed our certificate"),
    ],
)
def test_tls_that_does_not_come_about_names_the_setting_to_look_at(said, mend):
    error = mapped(theirs.ConnectionError(f"Error 1 connecting to cache:6379. {said} (_ssl.c:1006)."))
    assert isinstance(error, QueueLockedOut)
    assert isinstance(error, SettingsError)
    assert mend in str(error)


def test_a_refused_login_names_the_settings_to_look_at():
    text = str(mapped(theirs.AuthenticationError("Authentication required.")))
    assert "REDIS_URL" in text
    assert "REDIS_PASSWORD_FILE" in text
