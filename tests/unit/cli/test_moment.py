"""Times and durations as people write and read them."""

import pytest

from dispatcher.cli.moment import duration, moment, when
from dispatcher.errors import SettingsError


def at(text):
    return moment("--deliver-at", text, lambda: 1000.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0.0),
        ("+2h", 8200.0),
        ("+90", 1090.0),
        ("1731000000", 1731000000.0),
        ("1731000000.5", 1731000000.5),
        ("1970-01-01T01:00Z", 3600.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01 00:00:01+00:00", 1.0),
    ],
)
def test_from_now_by_the_calendar_or_in_seconds(text, seconds):
    assert at(text) == seconds


@pytest.mark.parametrize(
    "text", ["tomorrow", "+", "+soon", "-5", "1e9", "2026-11-22", "2026-11-22T09:00", "12:00"]
)
def test_what_is_no_time_or_no_certain_one_is_refused_with_examples(text):
    with pytest.raises(SettingsError, match=r"--deliver-at: found .*write \+2h, 2026-11-22T09:00Z or Unix"):
        at(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0.0), ("10m", 600.0), ("2h", 7200.0), ("3 d", 259_200.0), ("7", 7.0)]
)
def test_a_duration_has_a_unit_or_is_in_seconds(text, seconds):
    assert duration("--older-than", text) == seconds


@pytest.mark.parametrize("text", ["soon", "0", "-5", "400 d"])
def test_what_is_no_duration_is_refused_with_what_is(text):
    with pytest.raises(SettingsError, match=rf'--older-than: found "{text}"; allowed: seconds or a duration'):
        duration("--older-than", text)


def test_a_time_is_shown_in_utc():
    assert when(1_731_000_000.9) == "2024-11-07 17:20:00"
