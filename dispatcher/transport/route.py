"""How a project's requests get out: through which proxy, and whose certificates they trust."""

from __future__ import annotations

import ssl
import weakref
from base64 import b64encode
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from dispatcher.errors import SettingsError


class Route(msgspec.Struct, frozen=True):
    """Projects with equal routes share connections.

    Attributes:
        proxy: URL of an HTTP proxy, user and password in it if it asks for them; "": none. What the environment
            says of proxies is not looked at.
        ca_file: PEM file with certificates to trust beside the system's; "": none.
        verify: whether certificates are looked at; False only because an operator said so.
    """

    proxy: str = ""
    ca_file: str = ""
    verify: bool = True

    def __repr__(self) -> str:
        return f"Route(proxy={self.proxy_address!r}, ca_file={self.ca_file!r}, verify={self.verify})"

    @property
    def proxy_address(self) -> str:
        """The proxy's URL without user and password; "": none."""
        if not self.proxy:
            return ""
        url = urlsplit(self.proxy)
        return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()

    @property
    def proxy_login(self) -> tuple[str, str] | None:
        """User and password for the proxy; None: it asks for none."""
        url = urlsplit(self.proxy)
        return None if url.username is None else (unquote(url.username), unquote(url.password or ""))

    @property
    def proxy_authorization(self) -> str:
        """The header value that carries the login."""
        return "Basic " + b64encode(":".join(self.proxy_login or ()).encode()).decode()

    def tls(self) -> ssl.SSLContext:
        """What a TLS connection on this route is made with.

        Raises:
            SettingsError: the CA file cannot be read or holds no certificate.
        """
        context = ssl.create_default_context()
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.ca_file:
            digest = _digest(self.ca_file)
            _trust(context, self.ca_file)
            _following.setdefault(self.ca_file, _Followed(digest)).contexts.add(context)
        return context


DIRECT = Route()
"""No proxy, the system's certificates."""


class _Followed:
    """A CA file and those who trust it.

    Attributes:
        digest: of what they have read.
        contexts: weak: they go with the connections they are for.
    """

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.contexts: weakref.WeakSet[ssl.SSLContext] = weakref.WeakSet()


_following: dict[str, _Followed] = {}


def reread_ca_files() -> tuple[list[str], list[str]]:
    """Trust what has come into the CA files since they were read: a rotated CA costs no restart.

    Connections made from now on trust the new certificates too. Those that are gone from a file stay trusted until the
    process ends: a context cannot forget one, and a rotation has both for a while.

    Returns:
        (files that have changed and were read, what is wrong with others).
    """
    changed, problems = [], []
    for ca_file, followed in list(_following.items()):
        if not followed.contexts:
            del _following[ca_file]
            continue
        digest = _digest(ca_file)
        if digest == followed.digest:
            continue
        try:
            for context in list(followed.contexts):
                _trust(context, ca_file)
        except SettingsError as error:
            problems.append(f"{error}; what was in it before stays trusted")
        else:
            followed.digest = digest
            changed.append(ca_file)
    return changed, problems


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise SettingsError(f"DISPATCHER_CA_FILE {ca_file}: no certificates in PEM form in it") from None
    except OSError as error:
        raise SettingsError(f"DISPATCHER_CA_FILE {ca_file}: cannot be read ({error.strerror})") from None


def _digest(ca_file: str) -> bytes:
    """Of the content, not of the file's times: a mounted Secret is a link that is swapped; b"": it cannot be read."""
    try:
        return blake2b(Path(ca_file).read_bytes(), digest_size=16).digest()
    except OSError:
        return b""
