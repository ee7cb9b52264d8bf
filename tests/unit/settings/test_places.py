"""Where things are."""

import pytest

from dispatcher.settings.places import CredentialsSource, Endpoint, ProxyUrl, RedisUrl


@pytest.mark.parametrize(
    "raw",
    [
        "fcm.googleapis.com",
        "ftp://host",
        "http://",
        "http://host:port",
        "https://h?x=1",
        "https://me:secret@h",
        5,
    ],
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
    assert CredentialsSource().read("token-file:/run/token") == "token-file:/run/token"


@pytest.mark.parametrize("raw", ["", "token-file:", "Token-File:  ", 7])
def test_what_is_no_source_of_credentials(raw):
    with pytest.raises(ValueError):
        CredentialsSource().read(raw)


@pytest.mark.parametrize("raw", ["http://proxy:3128", "http://me:se%20cret@proxy:3128/", "https://proxy"])
def test_proxies(raw):
    assert ProxyUrl().read(raw).get_secret_value() == raw.rstrip("/")


@pytest.mark.parametrize(
    "raw", ["proxy:3128", "socks5://proxy", "http://", "http://p/x", "http://p:x", "http://p?q", 5]
)
def test_what_is_no_proxy(raw):
    with pytest.raises(ValueError):
        ProxyUrl().read(raw)
