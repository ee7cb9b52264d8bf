"""Ways out."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dispatcher.errors import SettingsError
from dispatcher.transport.route import Route, reread_ca_files

MakeCa = Callable[[str], bytes]


@pytest.fixture
def make_ca() -> MakeCa:
    """Certificates of private CAs in PEM form."""

    def make(name: str) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
            .not_valid_after(datetime.now(UTC) + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    return make


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


def test_what_comes_into_a_ca_file_is_trusted_without_a_restart(tmp_path: Path, make_ca: MakeCa) -> None:
    file = tmp_path / "ca.pem"
    old, new = make_ca("old"), make_ca("new")
    file.write_bytes(old)
    context = Route(ca_file=str(file)).tls()
    assert reread_ca_files() == ([], [])
    file.write_bytes(old + new)
    assert reread_ca_files() == ([str(file)], [])
    assert reread_ca_files() == ([], [])
    names = {dict(part[0] for part in ca["subject"]).get("commonName") for ca in context.get_ca_certs()}
    assert {"old", "new"} <= names


def test_a_ca_file_that_is_spoilt_later_is_told_and_the_old_stays_trusted(
    tmp_path: Path, make_ca: MakeCa
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(make_ca("old"))
    context = Route(ca_file=str(file)).tls()
    before = len(context.get_ca_certs())
    file.write_text("half a certif")
    for _ in range(2):
        changed, problems = reread_ca_files()
        assert changed == []
        assert problems == [
            f"DISPATCHER_CA_FILE {file}: no certificates in PEM form in it; what was in it before stays trusted"
        ]
    file.unlink()
    assert "cannot be read" in reread_ca_files()[1][0]
    assert len(context.get_ca_certs()) == before
    file.write_bytes(make_ca("new"))
    assert reread_ca_files() == ([str(file)], [])


def test_a_file_that_nobody_trusts_any_more_is_let_go(tmp_path: Path, make_ca: MakeCa) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(make_ca("old"))
    context = Route(ca_file=str(file)).tls()
    del context
    file.unlink()
    assert reread_ca_files() == ([], [])
