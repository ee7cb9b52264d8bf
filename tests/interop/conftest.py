"""The emulator as a process of its own, and real third-party clients in theirs.

Each client lives in its own environment (`make interop` makes them) and is driven over a pipe, one JSON object a
line; it is started once a session, because importing it takes longer than most tests.
"""

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".venv-interop"
PROJECT = "demo-orchard-41"
GOOGLE_NAMES = (
    "fcm.googleapis.com",
    "gcm.googleapis.com",
    "iid.googleapis.com",
    "oauth2.googleapis.com",
    "accounts.google.com",
    "www.googleapis.com",
)

Answer = dict[str, Any]


class Emulator:
    """An emulator that serves, and its admin API."""

    def __init__(self, ready: dict[str, Any], authority: Path | None) -> None:
        self.url: str = ready["url"]
        self.key: str = ready["credentials"][PROJECT]
        self.xmpp: str = ready.get("xmpp", "")
        self.authority = authority
        verify = ssl.create_default_context(cafile=authority) if authority else True
        self._admin = httpx.Client(base_url=f"{self.url}/_emulator/", verify=verify, trust_env=False)

    def get(self, path: str, **query: object) -> dict[str, Any]:
        return self._admin.get(path, params=query).raise_for_status().json()

    def put(self, path: str, body: object) -> None:
        self._admin.put(path, json=body).raise_for_status()

    def reset(self) -> None:
        self._admin.post("reset", json={}).raise_for_status()

    def tokens(self, **states: str) -> None:
        """Sets tokens: `tokens(dead="unregistered")`."""
        self.put("tokens", {"project": PROJECT, "tokens": states})

    def rules(self, *rules: dict[str, Any]) -> None:
        self.put("faults", {"rules": rules})

    def close(self) -> None:
        self._admin.close()


class Client:
    """A third-party client in its own process."""

    def __init__(self, process: subprocess.Popen[str], complaints: Path) -> None:
        self._process = process
        self._complaints = complaints
        self.version = ""

    def __call__(self, call: str, **arguments: object) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the client died: {self.complaints}"
        return json.loads(line)

    @property
    def complaints(self) -> str:
        """What it wrote on standard error."""
        return self._complaints.read_text()


@contextmanager
def _emulator(folder: Path, *arguments: str, authority: Path | None = None) -> Iterator[Emulator]:
    command = [sys.executable, "-m", "dispatcher.emulator", "--projects", PROJECT]
    process = subprocess.Popen(
        [*command, "--write-credentials", str(folder / "keys"), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout
    try:
        emulator = Emulator(json.loads(process.stdout.readline()), authority)
        yield emulator
        emulator.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        process.stdout.close()
    assert process.returncode == 0


def _authority(folder: Path) -> tuple[Path, Path, Path]:
    """A private certificate authority for this session: (its certificate, the emulator's chain, its key)."""
    now = datetime.now(UTC)

    def issue(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        own = name == issuer
        usage = dict.fromkeys(
            [
                "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
                "decipher_only",
            ],
            False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=own, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=not own, key_cert_sign=own, crl_sign=own, **usage),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
        )
        if not own:
            names: list[x509.GeneralName] = [x509.DNSName(each) for each in ("localhost", *GOOGLE_NAMES)]
            names.append(x509.IPAddress(ip_address("127.0.0.1")))
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256())

    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = issue("interop authority", root_key, "interop authority", root_key)
    leaf = issue("emulator", leaf_key, "interop authority", root_key)
    paths = folder / "authority.pem", folder / "chain.pem", folder / "key.pem"
    paths[0].write_bytes(root.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator without TLS."""
    with _emulator(tmp_path_factory.mktemp("plain")) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator behind TLS, where ALPN makes it HTTP/2, with a certificate in Google's names."""
    folder = tmp_path_factory.mktemp("secure")
    authority, chain, key = _authority(folder)
    with _emulator(folder, "--tls-cert", str(chain), "--tls-key", str(key), authority=authority) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator that speaks XMPP, with a certificate in Google's names."""
    folder = tmp_path_factory.mktemp("streaming")
    authority, chain, key = _authority(folder)
    arguments = ("--tls-cert", str(chain), "--tls-key", str(key), "--xmpp-port", "0")
    with _emulator(folder, *arguments, authority=authority) as emulator:
        yield emulator


def _installed(path: Path) -> Path:
    if not path.exists():
        message = f"{path.relative_to(ROOT)} is missing: `make interop` installs the clients"
        # Where everything is meant to be installed, a test that is left out is a test that failed.
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def _environment(emulator: Emulator) -> dict[str, str]:
    """Nothing of this process's environment but what starts a program: no proxy, no credentials of the user's."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    if emulator.authority:
        trusted = str(emulator.authority)
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "HTTPLIB2_CA_CERTS", "NODE_EXTRA_CA_CERTS"):
            environment[name] = trusted
    return environment


Start = Callable[[list[str], Path, dict[str, str]], Client]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a client process: `start(command, folder, environment)`."""
    with ExitStack() as stack:

        def started(command: list[str], folder: Path, environment: dict[str, str]) -> Client:
            complaints = tmp_path_factory.mktemp("client") / "stderr"
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stack.enter_context(complaints.open("w")),
                    text=True,
                    encoding="utf-8",
                    cwd=folder,
                    env=environment,
                )
            )
            stack.callback(process.terminate)
            return Client(process, complaints)

        yield started


@pytest.fixture(scope="session")
def python_client(start: Start) -> Callable[[str, str, Emulator], Client]:
    """Starts a Python client: `python_client(environment, driver, emulator)`."""

    def started(name: str, driver: str, emulator: Emulator) -> Client:
        python = _installed(ENVIRONMENTS / name / "bin" / "python")
        environment = _environment(emulator) | {"PYTHONPATH": str(HERE / "python" / "guard")}
        client = start([str(python), str(HERE / "python" / driver)], HERE, environment)
        client.version = client("start", base=emulator.url, key=emulator.key)["version"]
        return client

    return started


@pytest.fixture(scope="session")
def node_client(start: Start) -> Callable[[str, Emulator], Client]:
    """Starts a Node client: `node_client(folder, emulator)`."""

    def started(name: str, emulator: Emulator) -> Client:
        folder = HERE / "node" / name
        _installed(folder / "node_modules")
        host, _, port = emulator.url.partition("://")[2].partition(":")
        environment = _environment(emulator) | {
            "LOOPBACK_NAMES": ",".join(GOOGLE_NAMES if emulator.authority else ()),
            "LOOPBACK_PORT": port,
        }
        command = ["node", "--require", str(HERE / "node" / "guard.js"), str(HERE / "node" / "firebase.js")]
        client = start(command, folder, environment)
        plain = None if emulator.authority else f"{host}:{port}"
        client.version = client("start", key=emulator.key, plain=plain)["version"]
        return client

    return started


@pytest.fixture(scope="session")
def admin_6(python_client: Callable[..., Client], plain: Emulator) -> Client:
    """Python firebase-admin 6: the last one with `send_all`."""
    return python_client("firebase-admin-6", "firebase.py", plain)


@pytest.fixture(scope="session")
def admin_7(python_client: Callable[..., Client], secure: Emulator) -> Client:
    """Python firebase-admin 7: over TLS, so that its asynchronous calls use HTTP/2."""
    return python_client("firebase-admin-7", "firebase.py", secure)


@pytest.fixture(scope="session")
def google(python_client: Callable[..., Client], plain: Emulator) -> Client:
    """googleapiclient's batch writer and reader."""
    return python_client("googleapiclient", "googlebatch.py", plain)


@pytest.fixture(scope="session")
def node_11(node_client: Callable[..., Client], plain: Emulator) -> Client:
    """Node firebase-admin 11: `sendAll`."""
    return node_client("firebase-admin-11", plain)


@pytest.fixture(scope="session")
def node_13(node_client: Callable[..., Client], secure: Emulator) -> Client:
    """Node firebase-admin 13: the newest for Node.js 18 and 20; HTTP/2."""
    return node_client("firebase-admin-13", secure)


@pytest.fixture(scope="session")
def node_14(node_client: Callable[..., Client], secure: Emulator) -> Client:
    """Node firebase-admin 14: the newest; HTTP/2."""
    return node_client("firebase-admin-14", secure)
