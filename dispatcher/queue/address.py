"""What a Redis URL means."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypedDict, Unpack
from urllib.parse import parse_qs, unquote

import msgspec

from dispatcher.errors import SettingsError

_KINDS: dict[str, Literal["direct", "unix", "sentinel", "cluster"]] = {
    "redis": "direct",
    "rediss": "direct",
    "unix": "unix",
    "redis+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+sentinel": "sentinel",
    "rediss+cluster": "cluster",
}
_DEFAULT_PORT = {"direct": 6379, "sentinel": 26379, "cluster": 6379}


class Login(TypedDict, total=False):
    """Files with what a URL does not hold; each may be None.

    password_file: its content, without a line end, is the password, in place of one in the URL.
    ca_file: PEM file with certificates to trust beside the system's (`rediss://` only).
    cert_file: PEM file with the certificate that the server asks its clients for (`rediss://` only).
    key_file: PEM file with its private key; left out if that stands in cert_file.
    """

    password_file: Path | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None


class Address(msgspec.Struct, frozen=True):
    """Where Redis is and how to be let in.

    Attributes:
        kind: how it is reached.
        hosts: (host, port) of the server, the sentinels or some cluster nodes.
        path: the unix socket.
        master: the name sentinels know it by.
        tls: whether to speak TLS, with the sentinels too.
        db, username, password: as Redis means them.
        ca_file, cert_file, key_file: as in `Login`; "": none.
    """

    kind: Literal["direct", "unix", "sentinel", "cluster"]
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    master: str = ""
    tls: bool = False
    db: int = 0
    username: str | None = None
    password: str | None = None
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def parse_url(url: str, **login: Unpack[Login]) -> Address:
    """Read a Redis URL.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://` likewise, `unix:///path[?db=n]`,
            `redis+sentinel://h1[:port],h2/master[/db]`, `redis+cluster://h1[:port],h2`, and these two with
            `rediss+`.
        login: files; see `Login`.

    Raises:
        SettingsError: the URL or a file cannot be read; the password is never repeated in the message.
    """
    scheme, sep, rest = url.partition("://")
    kind = _KINDS.get(scheme)
    if kind is None or not sep:
        # Without a scheme the whole text may be a login: it is not repeated.
        named = f"unknown scheme {scheme!r}" if sep else "no scheme"
        raise SettingsError(
            f"DISPATCHER_REDIS_URL: {named}; use one of {', '.join(f'{name}://' for name in _KINDS)}"
        )
    who, _, location = rest.rpartition("@")
    if who.startswith("/"):  # unix:///a@b is a path
        who, location = "", rest
    user, _, word = who.partition(":")
    username, password = unquote(user) or None, unquote(word) or None
    password_file = login.get("password_file")
    if password_file is not None:
        password = _read_password(password_file)
    tls = scheme.startswith("rediss")
    files = {name: str(login.get(name) or "") for name in ("ca_file", "cert_file", "key_file")}
    _check_certificates(tls, files)
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
        tls=tls,
        db=db,
        username=username,
        password=password,
        **files,
    )


def _read_password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"DISPATCHER_REDIS_PASSWORD_FILE: cannot read {path}: {error}") from error


def _check_certificates(tls: bool, files: dict[str, str]) -> None:
    """See that the files can be used, before the client says so in words of its own at the first connection."""
    given = [name for name, path in files.items() if path]
    if given and not tls:
        # Whoever names a certificate takes the connection for encrypted.
        raise SettingsError(
            f"DISPATCHER_REDIS_{given[0].upper()} is set, but DISPATCHER_REDIS_URL speaks no TLS: begin it with rediss:// "
            "(or rediss+sentinel://, rediss+cluster://), or leave the file out"
        )
    if files["key_file"] and not files["cert_file"]:
        raise SettingsError(
            "DISPATCHER_REDIS_KEY_FILE is set without DISPATCHER_REDIS_CERT_FILE: name the certificate, too"
        )
    if files["ca_file"]:
        _try_file("DISPATCHER_REDIS_CA_FILE", files["ca_file"], "no certificates in PEM form in it", _load_ca)
    if files["cert_file"]:
        lack = "no certificate with its private key in it; name the key's file in DISPATCHER_REDIS_KEY_FILE"
        if files["key_file"]:
            lack = f"no certificate in it, or {files['key_file']} is not its private key"

        def load(context: ssl.SSLContext, path: str) -> None:
            # Never asks on the terminal: a key with a passphrase is refused.
            context.load_cert_chain(path, files["key_file"] or None, password=lambda: "")

        _try_file("DISPATCHER_REDIS_CERT_FILE", files["cert_file"], lack, load)


def _load_ca(context: ssl.SSLContext, path: str) -> None:
    context.load_verify_locations(path)


def _try_file(name: str, path: str, lack: str, load: Callable[[ssl.SSLContext, str], None]) -> None:
    try:
        load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), path)
    except ssl.SSLError:
        raise SettingsError(f"{name} {path}: {lack}") from None
    except OSError as error:
        raise SettingsError(
            f"{name}: cannot read {error.filename or path}: {error.strerror or error}"
        ) from None


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
