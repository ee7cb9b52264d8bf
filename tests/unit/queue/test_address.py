from __future__ import annotations

import pytest

from dispatcher.errors import SettingsError
from dispatcher.queue.address import Address, parse_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address("direct", (("localhost", 6379),))),
        ("redis://cache", Address("direct", (("cache", 6379),))),
        ("redis://cache:7000/3", Address("direct", (("cache", 7000),), db=3)),
        ("redis://cache?db=2", Address("direct", (("cache", 6379),), db=2)),
        ("redis://[::1]:7000", Address("direct", (("::1", 7000),))),
        (
            "rediss://u:p%40ss@cache",
            Address("direct", (("cache", 6379),), tls=True, username="u", password="p@ss"),
        ),
        ("redis://:a@b@cache", Address("direct", (("cache", 6379),), password="a@b")),
        ("unix:///run/redis.sock", Address("unix", path="/run/redis.sock")),
        ("unix:///run/a@b.sock", Address("unix", path="/run/a@b.sock")),
        (
            "unix://u:x@/run/redis.sock?db=1",
            Address("unix", path="/run/redis.sock", db=1, username="u", password="x"),
        ),
        (
            "redis+sentinel://s1,s2:7001/mymaster/2",
            Address("sentinel", (("s1", 26379), ("s2", 7001)), master="mymaster", db=2),
        ),
        ("redis+sentinel://s1/m", Address("sentinel", (("s1", 26379),), master="m")),
        ("redis+cluster://:x@c1,c2:7002", Address("cluster", (("c1", 6379), ("c2", 7002)), password="x")),
    ],
)
def test_a_url_says_where_and_how(url, address):
    assert parse_url(url) == address


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("localhost:6379", "scheme"),
        ("http://cache", "scheme"),
        ("redis://cache/x", "database"),
        ("redis://cache/1/2", "path"),
        ("redis://a,b", "several hosts"),
        ("redis://cache:port", "host and port"),
        ("redis://cache:70000", "host and port"),
        ("redis://cache?ssl=1", "option"),
        ("unix://", "path"),
        ("redis+sentinel://s1", "master"),
        ("redis+cluster://c1/3", "Cluster"),
    ],
)
def test_a_url_that_cannot_be_meant_is_a_settings_error(url, names):
    with pytest.raises(SettingsError, match=names):
        parse_url(url)


def test_the_password_comes_from_a_file_if_there_is_one(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("from-file\n")
    assert parse_url("redis://u:from-url@cache", password_file=secret).password == "from-file"


def test_a_password_file_that_cannot_be_read_is_a_settings_error(tmp_path):
    with pytest.raises(SettingsError, match="REDIS_PASSWORD_FILE"):
        parse_url("redis://cache", password_file=tmp_path / "none")


def test_no_message_repeats_the_password():
    for url in (
        "redis://u:hush@cache/x",
        "rodis://u:hush@cache",
        "redis://u:hush@cache:port",
        "unix://u:hush@",
    ):
        with pytest.raises(SettingsError) as caught:
            parse_url(url)
        assert "hush" not in str(caught.value)


def test_sentinels_and_clusters_speak_tls_too():
    address = parse_url("rediss+sentinel://s1,s2/m/0")
    assert (address.kind, address.tls, address.master) == ("sentinel", True, "m")
    address = parse_url("rediss+cluster://c1")
    assert (address.kind, address.tls) == ("cluster", True)
    assert not parse_url("redis+cluster://c1").tls


def test_a_certificate_file_that_holds_none_names_itself_and_the_mend(tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(SettingsError, match=r"REDIS_CA_FILE .*empty\.pem: no certificates in PEM form"):
        parse_url("rediss://cache", ca_file=empty)
    with pytest.raises(SettingsError, match=r"REDIS_CERT_FILE .*: no certificate with its private key in it"):
        parse_url("rediss://cache", cert_file=empty)
    with pytest.raises(SettingsError, match="is not its private key"):
        parse_url("rediss://cache", cert_file=empty, key_file=empty)
    with pytest.raises(SettingsError, match="REDIS_KEY_FILE is set without DISPATCHER_REDIS_CERT_FILE"):
        parse_url("rediss://cache", key_file=empty)
    with pytest.raises(SettingsError, match=r"REDIS_CA_FILE: cannot read .*none\.pem"):
        parse_url("rediss://cache", ca_file=tmp_path / "none.pem")
