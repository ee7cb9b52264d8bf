import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request as GoogleRequest
from google.oauth2 import service_account

from dispatcher.protocol.batch import decode_response, encode_request

SEND = "/v1/projects/demo/messages:send"
BODY = b'{"message":{"token":"t","data":{"id":"1"}}}'
BEARER = {"Authorization": "Bearer any"}
SCOPE = ["https://www.googleapis.com/auth/firebase.messaging"]


async def test_a_message_is_taken_over_http_1(emulator) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(emulator.url + SEND, data=BODY, headers=BEARER) as answer,
    ):
        assert answer.status == 200
        assert (await answer.json())["name"].startswith("projects/demo/messages/0:")
        assert answer.headers.getall("Vary") == ["Origin", "X-Origin", "Referer"]
    assert emulator.get("summary")["by_code"] == {"OK": 1}


async def test_many_messages_are_taken_at_once_over_one_http_2_connection(emulator) -> None:
    async with httpx.AsyncClient(http1=False, http2=True, trust_env=False) as client:
        answers = await asyncio.gather(
            *(client.post(emulator.url + SEND, content=BODY, headers=BEARER) for _ in range(200))
        )
    assert {(answer.http_version, answer.status_code) for answer in answers} == {("HTTP/2", 200)}
    assert len({answer.json()["name"] for answer in answers}) == 200
    assert emulator.get("counts", by="id", accepted=1) == {"1": 200}


@pytest.mark.parametrize("http2", [False, True])
async def test_a_batch_of_500_is_taken(emulator, http2: bool) -> None:
    bodies = [
        b'{"message":{"token":"t%d","notification":{"body":"%s"}}}' % (n, b"x" * 300) for n in range(500)
    ]
    async with httpx.AsyncClient(http1=not http2, http2=http2, trust_env=False) as client:
        answer = await client.post(
            emulator.url + "/batch",
            content=encode_request("demo", bodies, "b"),
            headers={"Content-Type": "multipart/mixed; boundary=b", **BEARER},
        )
    responses = decode_response(answer.headers["content-type"], answer.content, 500).responses
    assert all(response.error is None for response in responses)
    assert emulator.get("summary")["largest_request"] == {"batch": 500}


@pytest.mark.parametrize(("when", "accepted"), [("before", 0), ("after", 1)])
async def test_a_cut_closes_the_connection_without_an_answer(emulator, when: str, accepted: int) -> None:
    emulator.put("faults", {"auth": "any", "rules": [{"per": "request", "cut": when, "times": 2}]})
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.post(emulator.url + SEND, data=BODY, headers=BEARER)
    async with httpx.AsyncClient(http1=False, http2=True, trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(emulator.url + SEND, content=BODY, headers=BEARER)
        assert (await client.post(emulator.url + SEND, content=BODY, headers=BEARER)).status_code == 200
    assert emulator.get("summary")["accepted"] == 2 * accepted + 1


async def test_a_cut_takes_only_its_own_connection(emulator) -> None:
    emulator.put("faults", {"auth": "any", "rules": [{"target": "bad", "cut": "after"}, {"delay": 0.2}]})
    async with aiohttp.ClientSession() as session:

        async def send(token: bytes) -> int:
            body = b'{"message":{"token":"%s"}}' % token
            async with session.post(emulator.url + SEND, data=body, headers=BEARER) as answer:
                return answer.status

        answers = await asyncio.gather(send(b"a"), send(b"bad"), send(b"b"), return_exceptions=True)
    assert (answers[0], answers[2]) == (200, 200)
    assert isinstance(answers[1], aiohttp.ServerDisconnectedError)


@pytest.mark.parametrize("keep", [0, 1, 30])
async def test_a_truncated_answer_breaks_off_after_so_many_bytes(emulator, keep: int) -> None:
    emulator.put("faults", {"auth": "any", "rules": [{"truncate": keep}]})
    async with (
        aiohttp.ClientSession() as session,
        session.post(emulator.url + SEND, data=BODY, headers=BEARER) as answer,
    ):
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    async with httpx.AsyncClient(http1=False, http2=True, trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(emulator.url + SEND, content=BODY, headers=BEARER)
    assert emulator.get("summary")["accepted"] == 2


async def test_what_arrives_of_a_truncated_batch_can_be_read(emulator) -> None:
    emulator.put("faults", {"auth": "any", "rules": [{"per": "request", "truncate": 1000}]})
    body = encode_request("demo", [BODY] * 20, "b")
    headers = {"Content-Type": "multipart/mixed; boundary=b", **BEARER}
    received = b""
    async with (
        aiohttp.ClientSession() as session,
        session.post(emulator.url + "/batch", data=body, headers=headers) as answer,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):  # noqa: PT012 - what came before the break is the point
            async for piece in answer.content.iter_any():
                received += piece
        responses = decode_response(answer.headers["Content-Type"], received, 20).responses
    assert len(received) == 1000
    assert responses[0].message_id
    assert responses[19].error.fate == "unknown"


def test_google_auth_gets_a_token_by_the_written_credentials(start) -> None:
    emulator = start("--projects", "demo,other")
    credentials = service_account.Credentials.from_service_account_file(
        emulator.credentials["demo"], scopes=SCOPE
    )
    credentials.refresh(GoogleRequest())
    bearer = {"Authorization": f"Bearer {credentials.token}"}
    assert httpx.post(emulator.url + SEND, content=BODY, headers=bearer).status_code == 200
    assert (
        httpx.post(emulator.url + SEND.replace("demo", "other"), content=BODY, headers=bearer).status_code
        == 403
    )
    assert httpx.post(emulator.url + SEND, content=BODY, headers=BEARER).status_code == 401
    emulator.put("oauth", {"revoke": True})
    assert httpx.post(emulator.url + SEND, content=BODY, headers=bearer).status_code == 401
    emulator.put("oauth", {"refuse": "invalid_grant"})
    with pytest.raises(RefreshError, match="invalid_grant"):
        credentials.refresh(GoogleRequest())


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "emulator")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, key_pem


def test_over_tls_the_http_version_is_agreed_by_alpn(start, tmp_path: Path) -> None:
    pem, key = certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=str(pem))
    emulator = start("--tls-cert", str(pem), "--tls-key", str(key), verify=trusted)
    assert emulator.url.startswith("https://127.0.0.1:")
    for http2, version in ((False, "HTTP/1.1"), (True, "HTTP/2")):
        with httpx.Client(verify=trusted, http2=http2, trust_env=False) as client:
            answer = client.post(emulator.url + SEND, content=BODY)
            assert (answer.http_version, answer.status_code) == (version, 401)
    emulator.put("faults", {"auth": "any", "rules": [{"cut": "before"}]})
    with (
        httpx.Client(verify=trusted, http2=True, trust_env=False) as client,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        client.post(emulator.url + SEND, content=BODY, headers=BEARER)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_on_a_signal_even_with_connections_open(start, number: int) -> None:
    emulator = start()
    emulator.get("health")
    emulator.process.send_signal(number)
    assert emulator.process.wait(timeout=10) == 0


async def test_a_delayed_answer_does_not_hold_up_the_end(emulator) -> None:
    emulator.put("faults", {"auth": "any", "rules": [{"delay": 3600}]})
    async with aiohttp.ClientSession() as session:
        waiting = asyncio.ensure_future(session.post(emulator.url + SEND, data=BODY, headers=BEARER))
        while not (await asyncio.to_thread(emulator.get, "summary"))["messages"]:
            pass
        emulator.process.send_signal(signal.SIGTERM)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await waiting
    assert emulator.process.wait(timeout=10) == 0


def refused(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dispatcher.emulator", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_that_is_taken_is_said_in_one_line(emulator) -> None:
    assert "is in use" in refused("--port", emulator.url.rpartition(":")[2])
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert "is in use" in refused("--port", str(other.getsockname()[1]))


def test_wrong_settings_are_said_in_one_line(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps({"rules": [{"error": "NO_SUCH"}]}))
    assert "NO_SUCH" in refused("--faults", str(faults))
    assert "no.json" in refused("--faults", str(tmp_path / "no.json"))
    assert "../evil" in refused("--write-credentials", str(tmp_path), "--projects", "../evil")
    assert "no.pem" in refused("--tls-cert", str(tmp_path / "no.pem"), "--tls-key", str(tmp_path / "no.pem"))
