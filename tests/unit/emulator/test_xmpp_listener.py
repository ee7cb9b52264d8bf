"""The emulator's own certificate: one that a client can trust, for the names that it asks for."""

import ssl

from cryptography import x509

from dispatcher.emulator.xmpp_listener import tls_context, write_certificate


def test_the_certificate_names_every_host_and_vouches_for_itself(tmp_path):
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    write_certificate(certificate, key, ["127.0.0.1", "localhost"])
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert ssl.create_default_context(cafile=certificate).get_ca_certs()


def test_only_its_owner_can_read_the_key(tmp_path):
    write_certificate(tmp_path / "ca.pem", tmp_path / "key.pem", ["localhost"])
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0


def test_it_speaks_tls_1_2_or_newer(tmp_path):
    write_certificate(tmp_path / "ca.pem", tmp_path / "key.pem", ["localhost"])
    assert tls_context(tmp_path / "ca.pem", tmp_path / "key.pem").minimum_version is ssl.TLSVersion.TLSv1_2
