"""What a Redis URL means."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote

import msgspec

from dispatcher.errors import SettingsError

_KINDS: dict[str, Literal["direct", "unix", "sentinel", "cluster"]] = {
    "redis": "direct",
    "rediss": "direct",
    "unix": "unix",
    "redis+sentinel": "sentinel",
    "redis+cluster": "cluster",
}
_DEFAULT_PORT = {"direct": 6379, "sentinel": 26379, "cluster": 6379}


class Address(msgspec.Struct, frozen=True):
    """Where Redis is and how to be let in.

    Attributes:
        kind: how it is reached.
        hosts: (host, port) of the server, the sentinels or some cluster nodes.
        path: the unix socket.
        master: the name sentinels know it by.
        tls: whether to speak TLS.
        db, username, password: as Redis means them.
    """

    kind: Literal["direct", "unix", "sentinel", "cluster"]
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    master: str = ""
    tls: bool = False
    db: int = 0
    username: str | None = None
    password: str | None = None


def parse_url(url: str, password_file: Path | None = None) -> Address:
    """Read a Redis URL.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://` likewise, `unix:///path[?db=n]`,
            `redis+sentinel://h1[:port],h2/master[/db]`, `redis+cluster://h1[:port],h2`.
        password_file: its content, without a line end, is the password.

    Raises:
        SettingsError: the URL or the file cannot be read; the password is never repeated in the message.
    """
    scheme, sep, rest = url.partition("://")
    kind = _KINDS.get(scheme)
    if kind is None or not sep:
        # Without a scheme the whole text may be a login: it is not repeated.
        named = f"unknown scheme {scheme!r}" if sep else "no scheme"
        raise SettingsError(
            f"DISPATCHER_REDIS_URL: {named}; use one of {', '.join(f'{name}://' for name in _KINDS)}"
        )
    login, _, location = rest.rpartition("@")
    if login.startswith("/"):  # unix:///a@b is a path
        login, location = "", rest
    user, _, word = login.partition(":")
    username, password = unquote(user) or None, unquote(word) or None
    if password_file is not None:
        password = _read_password(password_file)
    location, _, query = location.partition("?")
    options = parse_qs(query)
    if set(options) - {"db"} or "#" in location:
        raise SettingsError(
            f"DISPATCHER_REDIS_URL: unknown option in {query or location!r}; only db is known"
        )
    names, _, path = location.partition("/")
    if kind == "unix":
        if names or not path:
            raise SettingsError("DISPATCHER_REDIS_URL: a unix URL needs a path, as unix:///run/redis.sock")
        db = _db(options.get("db", ["0"])[0])
        return Address(kind, path=unquote(f"/{path}"), db=db, username=username, password=password)
    parts = [part for part in path.split("/") if part]
    master = ""
    if kind == "sentinel":
        if not parts:
            raise SettingsError(
                "DISPATCHER_REDIS_URL: a sentinel URL names its master: redis+sentinel://h1,h2/mymaster/0"
            )
        master = parts.pop(0)
    db = _db(parts.pop(0) if parts else options.get("db", ["0"])[0])
    if parts or (kind == "cluster" and db):
        raise SettingsError(
            "DISPATCHER_REDIS_URL: more in the path than this kind of URL has (Cluster knows no databases)"
        )
    hosts = tuple(_host(name, _DEFAULT_PORT[kind]) for name in names.split(",") if name)
    if kind == "direct" and len(hosts) > 1:
        raise SettingsError("DISPATCHER_REDIS_URL: several hosts need redis+sentinel:// or redis+cluster://")
    return Address(
        kind,
        hosts or (("localhost", _DEFAULT_PORT[kind]),),
        master=master,
        tls=scheme == "rediss",
        db=db,
        username=username,
        password=password,
    )


def _read_password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"DISPATCHER_REDIS_PASSWORD_FILE: cannot read {path}: {error}") from error


def _db(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(f"DISPATCHER_REDIS_URL: the database is a number, not {text!r}")
    return int(text)


def _host(text: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):  # [::1]:6379
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise SettingsError(f"DISPATCHER_REDIS_URL: cannot read host and port in {text!r}")
    return host, int(port) if port else default_port
