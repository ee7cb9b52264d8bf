"""Settings that say where something is: addresses, files, keys.

Kinds as in `kinds.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import SecretStr
from typing_extensions import override

from dispatcher.settings.kinds import Kind, text_of


@dataclass(frozen=True)
class Endpoint(Kind):
    """Where a service is reached; a trailing slash is dropped."""

    kind: ClassVar[str] = "URL"

    @property
    @override
    def allowed(self) -> str:
        return "a URL with http:// or https:// and a host"

    @override
    def read(self, raw: object) -> str:
        text = text_of(raw).rstrip("/")
        url = urlsplit(text)
        if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
            raise ValueError
        if "@" in url.netloc:
            raise ValueError("which has a password in it")
        _ = url.port  # raises ValueError if it is no port
        return text


@dataclass(frozen=True)
class RedisUrl(Kind):
    """How Redis is reached. A secret: it may hold a password."""

    kind: ClassVar[str] = "URL"
    schemes: ClassVar[tuple[str, ...]] = (
        "redis",
        "rediss",
        "unix",
        "redis+sentinel",
        "redis+cluster",
        "rediss+sentinel",
        "rediss+cluster",
    )

    @property
    @override
    def allowed(self) -> str:
        return (
            "redis://host:6379/0, unix:///path, redis+sentinel://h1,h2/master/0 or redis+cluster://h1,h2; "
            "with TLS rediss://, rediss+sentinel://, rediss+cluster://"
        )

    @override
    def read(self, raw: object) -> SecretStr:
        text = raw.get_secret_value() if isinstance(raw, SecretStr) else text_of(raw)
        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in self.schemes or not rest.strip("/"):
            raise ValueError
        return SecretStr(text)

    @override
    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True)
class FilePath(Kind):
    """A file, looked at when it is needed."""

    kind: ClassVar[str] = "path"

    @property
    @override
    def allowed(self) -> str:
        return "the path of a file"

    @override
    def read(self, raw: object) -> Path:
        text = str(raw) if isinstance(raw, Path) else text_of(raw)
        if not text:
            raise ValueError
        return _home(text)


@dataclass(frozen=True)
class ProxyUrl(Kind):
    """An HTTP proxy. A secret: it may hold a password."""

    kind: ClassVar[str] = "URL"

    @property
    @override
    def allowed(self) -> str:
        return "http://host:port or http://user:password@host:port"

    @override
    def read(self, raw: object) -> SecretStr:
        text = raw.get_secret_value() if isinstance(raw, SecretStr) else text_of(raw)
        url = urlsplit(text)
        if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
            raise ValueError
        _ = url.port  # raises ValueError if it is no port
        if url.path not in {"", "/"}:
            raise ValueError
        return SecretStr(text.rstrip("/"))

    @override
    def show(self, value: object) -> str:
        return str(value)


TOKEN_FILE = "token-file:"  # noqa: S105 - the word before a path


@dataclass(frozen=True)
class CredentialsSource(Kind):
    """`adc`, `none`, `token-file:` and a path, or the path of a service-account file.

    Attributes:
        folder: whether a folder of service-account files will do, too.
    """

    folder: bool = True
    kind: ClassVar[str] = "path"

    @property
    @override
    def allowed(self) -> str:
        folder = "a folder of them, " if self.folder else ""
        return f"a service-account file, {folder}adc, none or token-file:/path"

    @override
    def read(self, raw: object) -> str:
        text = str(raw) if isinstance(raw, Path) else text_of(raw)
        if not text:
            raise ValueError
        if text.lower() in {"adc", "none"}:
            return text.lower()
        word = TOKEN_FILE if text.lower().startswith(TOKEN_FILE) else ""
        path = text[len(word) :].strip()
        if not path:
            raise ValueError
        return word + str(_home(path))


def _home(text: str) -> Path:
    """A path with `~` written out.

    Raises:
        ValueError: there is no such user, or nobody knows where its home is.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError from None
