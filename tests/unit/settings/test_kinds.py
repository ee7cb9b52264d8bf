"""The shapes of values."""

import pytest

from dispatcher.settings.kinds import Decimal, Duration, Flag, OneOf, Size, Whole


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("64 MiB", 2**26),
        ("64MiB", 2**26),
        ("1.5 KiB", 1536),
        ("2 GB", 2 * 10**9),
        ("10 b", 10),
    ],
)
def test_sizes(text, size):
    assert Size(1).read(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15", 15),
        ("0.5", 0.5),
        ("30 d", 2592000),
        ("6h", 21600),
        ("10 min", 600),
        ("500 ms", 0.5),
        ("1 W", 604800),
    ],
)
def test_durations(text, seconds):
    assert Duration(0, 1e9).read(text) == seconds


def test_a_duration_of_a_setting_in_milliseconds():
    assert Duration(0, 10_000, 0.001).read("20") == 20
    assert Duration(0, 10_000, 0.001).read("2 s") == 2000


@pytest.mark.parametrize(
    "raw", ["", "x", "5 parsecs", "-1", "1e3", "nan", "inf", True, None, [], 10**10, "30 d d"]
)
@pytest.mark.parametrize("kind", [Size(1, 100), Duration(0, 100), Whole(1, 100), Decimal(0.01, 1)])
def test_what_is_no_quantity_within_bounds_is_refused(kind, raw):
    with pytest.raises(ValueError):
        kind.read(raw)


def test_words_are_read_in_any_case():
    assert OneOf(("auto", "v1")).read("Auto") == "auto"
    # As TOML gives them without quotes.
    assert [OneOf(("1.1", "2")).read(raw) for raw in (1.1, 2, "2")] == ["1.1", "2", "2"]


@pytest.mark.parametrize(
    ("raw", "flag"), [(True, True), ("false", False), ("Yes", True), ("0", False), ("on", True)]
)
def test_yes_and_no(raw, flag):
    assert Flag().read(raw) is flag


@pytest.mark.parametrize("raw", ["", "maybe", 1, None, "2"])
def test_neither_yes_nor_no(raw):
    with pytest.raises(ValueError):
        Flag().read(raw)
