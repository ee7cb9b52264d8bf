"""The label of a pause is a word of ours, whatever stands in the reason."""

import pytest

from dispatcher.pipeline.upkeep.controller import pause_label


@pytest.mark.parametrize(
    ("reason", "label"),
    [
        ("authentication-error: the key was revoked on 2026-01-01", "authentication-error"),
        ("message-rate-exceeded", "message-rate-exceeded"),
        ("deploy of the app: back at noon", "manual"),
        ("", "manual"),
    ],
)
def test_a_reason_becomes_its_code_or_manual(reason, label):
    assert pause_label(reason) == label
