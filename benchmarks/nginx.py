"""nginx with a fixed answer over TLS, HTTP/2 or HTTP/1.1 by ALPN: FCM's part in the v1 benchmarks.

It is C, and does nothing: whoever is measured against it is measured alone.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from server import ACCESS_TOKEN

GOOGLE_NAMES = ("fcm.googleapis.com", "oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com")
"""Names that some clients know no other address than; they are led to loopback."""

CONF = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_buffer_size 64k;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl http2; http2_max_concurrent_streams 100;  # as Google's
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location ~ /token$ {{  # of OAuth, for clients that cannot do without one
      default_type application/json;
      return 200 '{{"access_token":"{token}","expires_in":3600,"token_type":"Bearer"}}';
    }}
    location / {{
      default_type application/json;
      return 200 '{{"name":"projects/bench/messages/0:1731000000222333%5f0e1d2c00000001"}}';
    }}
  }}
  server {{ listen 127.0.0.1:{status}; location / {{ stub_status; }} }}
}}
"""


class Nginx:
    """A running nginx.

    Attributes:
        url: of the fixed answer.
        ca_file: its certificate, which is its own CA.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._status = _free_port(), _free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca_file = str(folder / "cert.pem")
        _write_certificate(folder)
        text = CONF.format(folder=folder, port=self.port, status=self._status, token=ACCESS_TOKEN)
        (folder / "nginx.conf").write_text(text)

    def connections(self) -> int:
        """Connections accepted so far."""
        return self.counts()[0]

    def counts(self) -> tuple[int, int]:
        """Connections accepted (a TLS handshake each) and requests served so far, these looks left out."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._status}/", timeout=10) as answer:
            accepted, _, requests = re.search(r"(\d+) (\d+) (\d+)", answer.read().decode()).groups()
        self._looks += 1
        return int(accepted) - self._looks, int(requests) - self._looks

    _looks = 0


@contextmanager
def nginx() -> Iterator[Nginx]:
    """Start one; it is stopped at the end."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise SystemExit("nginx is not installed: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as name:
        it = Nginx(Path(name))
        child = subprocess.Popen([binary, "-p", name, "-c", f"{name}/nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            while True:
                if child.poll() is not None:
                    raise SystemExit(f"nginx ended: {(it.folder / 'error.log').read_text()}")
                try:
                    it.counts()
                    break
                except OSError:
                    time.sleep(0.01)
            yield it
        finally:
            child.terminate()
            child.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(each) for each in ("localhost", *GOOGLE_NAMES)]
    names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
