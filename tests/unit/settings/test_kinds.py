"""The shapes of values."""

import pytest

from dispatcher.settings.kinds import (
    CredentialsSource,
    Decimal,
    Duration,
    Endpoint,
    OneOf,
    RedisUrl,
    Size,
    Whole,
)


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


@pytest.mark.parametrize(
    "raw", ["fcm.googleapis.com", "ftp://host", "http://", "http://host:port", "https://h?x=1", 5]
)
def test_what_is_no_endpoint(raw):
    with pytest.raises(ValueError):
        Endpoint().read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "redis://h",
        "rediss://h:6380/1",
        "unix:///run/redis.sock",
        "redis+sentinel://h1,h2/master/0",
        "redis+cluster://h1,h2",
    ],
)
def test_ways_to_redis(raw):
    assert RedisUrl().read(raw).get_secret_value() == raw


@pytest.mark.parametrize("raw", ["h:6379", "http://h", "redis://", "unix:///", 5])
def test_what_is_no_way_to_redis(raw):
    with pytest.raises(ValueError):
        RedisUrl().read(raw)


def test_sources_of_credentials():
    assert CredentialsSource().read("ADC") == "adc"
    assert CredentialsSource().read("none") == "none"
    assert CredentialsSource().read("/run/keys") == "/run/keys"
