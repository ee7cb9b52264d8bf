"""How a project's requests get out: through which proxy, and whose certificates they trust."""

from __future__ import annotations

import ssl
from base64 import b64encode
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
            try:
                context.load_verify_locations(self.ca_file)
            except ssl.SSLError:
                raise SettingsError(
                    f"DISPATCHER_CA_FILE {self.ca_file}: no certificates in PEM form in it"
                ) from None
            except OSError as error:
                raise SettingsError(
                    f"DISPATCHER_CA_FILE {self.ca_file}: cannot be read ({error.strerror})"
                ) from None
        return context


DIRECT = Route()
"""No proxy, the system's certificates."""
