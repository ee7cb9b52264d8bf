"""Ways out."""

from pathlib import Path

import pytest

from dispatcher.errors import SettingsError
from dispatcher.transport.route import Route


def test_equal_settings_are_one_route() -> None:
    assert len({Route("http://p:1", "ca", True), Route("http://p:1", "ca"), Route("http://p:1")}) == 2


def test_user_and_password_are_apart_from_the_address() -> None:
    route = Route("http://me:se%20cret@[::1]:3128")
    assert route.proxy_address == "http://[::1]:3128"
    assert route.proxy_login == ("me", "se cret")
    assert "cret" not in repr(route)
    assert Route("http://p:3128").proxy_login is None
    assert Route().proxy_address == ""


def test_certificates_are_looked_at_unless_somebody_says_not() -> None:
    assert Route().tls().check_hostname
    assert not Route(verify=False).tls().check_hostname


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), ("no certificate", "no certificates in PEM")]
)
def test_a_ca_file_that_will_not_do_is_a_settings_error(
    tmp_path: Path, content: str | None, says: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=says):
        Route(ca_file=str(file)).tls()
