"""Ways to FCM: through a proxy, to servers of a private authority, over sessions that equal ways share."""

import asyncio
import base64
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FIRST, SECOND = "demo-orchard-41", "second-42"


class Authority:
    """A private CA, and the certificate of a server on loopback."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A private authority")])
        ca = self._certificate(name, ca_key, name, ca_key, x509.BasicConstraints(ca=True, path_length=0))
        host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        cert = self._certificate(subject, server_key, name, ca_key, host)
        self.ca.write_bytes(ca)
        self.cert.write_bytes(cert)
        self.key.write_bytes(
            server_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    @staticmethod
    def _certificate(subject, key, issuer, issuer_key, extension) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(_emulator, authority, tmp_path_factory) -> Iterator[object]:
    """The emulator over TLS, with a certificate of that authority; so is its token endpoint."""
    command = [sys.executable, "-m", "dispatcher.emulator", "--projects", f"{FIRST},{SECOND}"]
    command += ["--write-credentials", str(tmp_path_factory.mktemp("keys"))]
    command += ["--tls-cert", str(authority.cert), "--tls-key", str(authority.key)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    running = type(_emulator)(process, verify=ssl.create_default_context(cafile=authority.ca))
    yield running
    running.close()


class Proxy:
    """A small forward proxy: CONNECT for https, absolute URLs for http; asks for a login if told to."""

    def __init__(self, login: str = "") -> None:
        self.login = login
        self.tunnels: list[str] = []
        self.forwarded: list[str] = []
        self.address = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.partition(b"\r\n")[0].decode().split()
            wanted = b"proxy-authorization: basic " + base64.b64encode(self.login.encode()).lower()
            if self.login and wanted not in head.lower():
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            if method == "CONNECT":
                self.tunnels.append(target)
                host, _, port = target.rpartition(":")
                there = await asyncio.open_connection(host, int(port))
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                self.forwarded.append(target)
                host, _, path = target.removeprefix("http://").partition("/")
                there = await asyncio.open_connection(*host.split(":"))
                there[1].write(head.replace(target.encode(), b"/" + path.encode(), 1))
            await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()


@asynccontextmanager
async def proxy(login: str = "") -> AsyncIterator[Proxy]:
    made = Proxy(login)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


Configure = Callable[..., Path]


@pytest.fixture
def config(tmp_path) -> Configure:
    def write(**tables: dict[str, object]) -> Path:
        file = tmp_path / "dispatcher.toml"
        lines = []
        for project, table in tables.items():
            lines.append(f'[projects."{project.replace("_", "-")}"]')
            lines += [
                f"{name} = {str(v).lower() if isinstance(v, bool) else repr(str(v))}"
                for name, v in table.items()
            ]
        file.write_text("\n".join(lines))
        return file

    return write


# Messages over the wire, by the HTTP version that a server with HTTP/2 sees; tokens are always asked for over 1.1.
SPOKEN = {"batch": {"1.1": 2}, "v1": {"1.1": 1, "2": 1}}


@pytest.mark.parametrize("wire", SPOKEN)
async def test_messages_and_tokens_reach_a_server_of_a_private_authority(
    wire, serve, desk, secure, authority
):
    secure.reset()
    worker = await serve(
        transport=wire, fcm_endpoint=secure.url, credentials=secure.credentials[FIRST], ca_file=authority.ca
    )
    await desk.add(message={"token": "t"})
    assert (await desk.outcomes(1))[0]["status"] == "accepted"
    assert (await worker.face.get("/readyz")).json()["tls"] == {"unverified": []}
    assert secure.get("summary")["http_versions"] == SPOKEN[wire]


@pytest.mark.parametrize("wire", SPOKEN)
async def test_a_certificate_nobody_vouches_for_stops_the_message_unsent(
    wire, serve, desk, secure, config, tmp_path
):
    (tmp_path / "token").write_text("some-token-of-ours")
    before = len(secure.arrivals())
    worker = await serve(
        transport=wire,
        fcm_endpoint=secure.url,
        credentials=f"token-file:{tmp_path}/token",
        projects=FIRST,
        max_attempts=1,
    )
    await desk.add(message={"token": "t"}, on_unknown="give_up")
    outcome = (await desk.outcomes(1))[0]
    # `failed`, because one attempt was allowed; not of unknown fate, because nothing had left.
    assert (outcome["status"], outcome["code"]) == ("failed", "server-unavailable")
    assert "is not trusted" in outcome["reason"]
    assert "DISPATCHER_CA_FILE" in outcome["reason"]
    assert "possible_duplicate" not in outcome
    assert len(secure.arrivals()) == before
    assert await worker.face.metric("possible_duplicates_total") == 0


async def test_a_rotated_ca_is_trusted_without_a_restart(serve, desk, secure, authority, tmp_path):
    (tmp_path / "token").write_text("some-token-of-ours")
    ca_file = tmp_path / "ca.pem"
    (tmp_path / "other").mkdir()
    ca_file.write_bytes(Authority(tmp_path / "other").ca.read_bytes())
    worker = await serve(
        fcm_endpoint=secure.url,
        credentials=f"token-file:{tmp_path}/token",
        projects=FIRST,
        max_attempts=1,
        ca_file=ca_file,
        rescan_s=0.05,
    )
    await desk.add(message={"token": "t"})
    assert "is not trusted" in (await desk.outcomes(1))[0]["reason"]
    ca_file.write_text("being written")
    await desk.until(lambda: _problems(worker, 1))
    ca_file.write_bytes(authority.ca.read_bytes())
    await desk.until(lambda: _problems(worker, 0))
    # Trusted now: it gets as far as being asked for its token.
    await desk.add(message={"token": "u"})
    control = await desk.until(desk.control)
    assert control["pause:reason"].startswith("authentication-error")


async def _problems(worker, count: int) -> bool:
    return await worker.face.metric("credential_problems") == count


async def test_the_token_endpoint_is_not_trusted_either(serve, desk, secure):
    worker = await serve(fcm_endpoint=secure.url, credentials=secure.credentials[FIRST])
    await desk.add(message={"token": "t"})
    control = await desk.until(desk.control)
    assert "no answer from the token endpoint" in control["pause:reason"]
    assert await worker.face.metric("credential_refreshes_total", result="failed") >= 1


async def test_certificates_go_unlooked_at_only_where_told_and_with_a_warning(
    serve, desk, secure, authority, config, capfd
):
    first, second = desk, type(desk)(desk.redis, SECOND)
    path = config(demo_orchard_41={"tls_verify": False}, second_42={"ca_file": authority.ca})
    folder = Path(secure.credentials[FIRST]).parent
    worker = await serve(config=path, fcm_endpoint=secure.url, credentials=folder)
    for each in (first, second):
        await each.add(message={"token": "t"})
        assert (await each.outcomes(1))[0]["status"] == "accepted"
    ready = (await worker.face.get("/readyz")).json()
    assert ready["tls"] == {"unverified": [FIRST]}
    assert await worker.face.metric("tls_unverified", project=FIRST) == 1
    assert await worker.face.metric("tls_unverified") == 1
    out, err = capfd.readouterr()
    assert (out + err).count("tls_not_verified") == 1


@pytest.mark.parametrize("wire", SPOKEN)
@pytest.mark.parametrize("login", ["", "me:s3cr3t pass"])
async def test_everything_goes_through_the_proxy(login, wire, serve, desk, secure, authority):
    secure.reset()
    async with proxy(login) as way:
        before = login.replace(" ", "%20") + "@" if login else ""
        await serve(
            transport=wire,
            fcm_endpoint=secure.url,
            credentials=secure.credentials[FIRST],
            ca_file=authority.ca,
            proxy=f"http://{before}{way.address}",
        )
        await desk.add(message={"token": "t"})
        assert (await desk.outcomes(1))[0]["status"] == "accepted"
        # One tunnel for the token, one for messages.
        assert way.tunnels == [secure.url.removeprefix("https://")] * 2
        assert secure.get("summary")["http_versions"] == SPOKEN[wire]


async def test_plain_http_goes_through_the_proxy_as_well(serve, desk, emulator):
    async with proxy() as way:
        await serve(proxy=f"http://{way.address}")
        await desk.add(message={"token": "t"})
        assert (await desk.outcomes(1))[0]["status"] == "accepted"
        assert {url.rpartition("/")[2] for url in way.forwarded} == {"token", "batch"}


@pytest.mark.parametrize("wire", SPOKEN)
async def test_a_proxy_that_refuses_stops_the_message_unsent_and_shows_no_password(
    wire, serve, desk, secure, authority, tmp_path
):
    (tmp_path / "token").write_text("some-token-of-ours")
    async with proxy("me:right") as way:
        await serve(
            transport=wire,
            fcm_endpoint=secure.url,
            credentials=f"token-file:{tmp_path}/token",
            projects=FIRST,
            ca_file=authority.ca,
            proxy=f"http://me:wr0ng-password@{way.address}",
            max_attempts=1,
        )
        await desk.add(message={"token": "t"}, on_unknown="give_up")
        outcome = (await desk.outcomes(1))[0]
    assert (outcome["status"], outcome["code"]) == ("failed", "server-unavailable")
    assert "407" in outcome["reason"]
    assert "wr0ng" not in outcome["reason"]


@pytest.mark.parametrize("wire", SPOKEN)
@pytest.mark.parametrize("same", [True, False])
async def test_projects_with_equal_ways_share_connections(same, wire, serve, desk, secure, authority, config):
    secure.reset()
    async with proxy() as way, proxy() as other:
        path = config(
            demo_orchard_41={"proxy": f"http://{way.address}"},
            second_42={"proxy": f"http://{(way if same else other).address}"},
        )
        folder = Path(secure.credentials[FIRST]).parent
        await serve(
            transport=wire, config=path, fcm_endpoint=secure.url, credentials=folder, ca_file=authority.ca
        )
        for project in (FIRST, SECOND):
            each = type(desk)(desk.redis, project)
            await each.add(message={"token": "t"})
            await each.outcomes(1)
        # Two tokens; messages over one connection, or over one for each way.
        assert (len(way.tunnels), len(other.tunnels)) == ((3, 0) if same else (2, 2))
        spoken = {version: 2 * count for version, count in SPOKEN[wire].items()}
        assert secure.get("summary")["http_versions"] == spoken


async def test_a_ca_file_that_will_not_do_stops_the_start(spawn, desk, emulator, config, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    worker = spawn("--config", str(config(second_42={"ca_file": tmp_path / "ca.pem"})))
    assert await worker.stopped() == 2
    assert "no certificates in PEM form" in worker.log_file.read_text()
