"""Access tokens by the real google-auth path, from the emulator's token endpoint."""

import asyncio
import json
from pathlib import Path

import pytest

from dispatcher.errors import CredentialsError
from dispatcher.model import Action
from dispatcher.policy.classify import classify
from dispatcher.transport.auth import Credential, GoogleCredential
from dispatcher.transport.batch import BatchTransport
from dispatcher.transport.keyring import Keyring
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import Timeouts


@pytest.fixture
def credential(emulator) -> GoogleCredential:
    return loaded(emulator.keys["demo"])["demo"]


def loaded(source: str) -> dict[str, Credential]:
    keyring = Keyring(source)
    keyring.load()
    return keyring.credentials


@pytest.fixture(autouse=True)
def environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies play no part."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")


def test_the_emulators_folder_serves_its_projects(emulator) -> None:
    assert set(loaded(str(Path(emulator.keys["demo"]).parent))) == {"demo", "other"}


@pytest.mark.parametrize("wire", ["batch", "v1"])
async def test_a_fetched_token_sends(session, emulator, credential, batch_of, wire: str) -> None:
    timeouts = Timeouts()
    transport = (
        BatchTransport(session, emulator.url, "b_", timeouts, lambda *_: None)
        if wire == "batch"
        else V1Transport(session, emulator.url, timeouts, lambda *_: None)
    )
    batch = batch_of(*"abc")
    token = await credential.token()
    first = await transport.send(batch, token, now=0.0, at_once=5)
    assert all(response.message_id for response in first)

    # Revoked: each message is told so, one renewal mends it.
    emulator.put("oauth", revoke=True)
    refused = await transport.send(batch, token, now=0.0, at_once=5)
    assert {classify(response.error, "token").action for response in refused} == {Action.REFRESH_CREDS}
    renewed = await credential.renew(token)
    assert renewed != token
    assert all(r.message_id for r in await transport.send(batch, renewed, now=0.0, at_once=5))


async def test_a_storm_of_refusals_fetches_once(emulator, credential) -> None:
    token = await credential.token()
    before = emulator.get("oauth")["issued"]
    tokens = await asyncio.gather(*(credential.renew(token) for _ in range(100)))
    assert len(set(tokens)) == 1
    assert tokens[0] != token
    assert emulator.get("oauth")["issued"] == before + 1


async def test_a_lifetime_is_what_the_endpoint_says(emulator, credential) -> None:
    await credential.token()
    assert 3500 < credential.expires_in_s <= 3599
    assert 3200 < credential.refresh_in_s < 3300
    emulator.put("oauth", expires_in=100)
    await credential.renew(credential.current)
    assert 90 < credential.expires_in_s <= 100
    assert 35 < credential.refresh_in_s <= 50


async def test_a_revoked_key_is_a_permanent_failure_that_a_new_key_mends(emulator, credential) -> None:
    emulator.put("oauth", refuse="invalid_grant")
    with pytest.raises(CredentialsError, match="refused it \\(invalid_grant: ") as caught:
        await credential.token()
    assert caught.value.permanent
    assert str(caught.value).startswith(emulator.keys["demo"])
    assert not credential.ready
    emulator.put("oauth", refuse="")
    assert await credential.token()
    assert (credential.refreshes, credential.failures) == (2, 1)


def key_of(emulator, project: str) -> dict[str, str]:
    return json.loads(Path(emulator.keys[project]).read_text())


async def test_a_key_the_endpoint_does_not_know_is_refused(emulator, tmp_path: Path) -> None:
    other = key_of(emulator, "other")
    forged = tmp_path / "key.json"
    forged.write_text(json.dumps(key_of(emulator, "demo") | {"private_key": other["private_key"]}))
    with pytest.raises(CredentialsError, match="Invalid JWT Signature") as caught:
        await loaded(str(forged))["demo"].token()
    assert caught.value.permanent
    assert other["private_key"][60:90] not in str(caught.value)


@pytest.mark.parametrize(
    "rule",
    [
        {"status": 502},
        {"status": 403},
        {"status": 502, "body": '{"error":"bad_gateway"}', "content_type": "application/json"},
        {"status": 200, "body": "<html>log in to the hotel's network</html>", "content_type": "text/html"},
        {"status": 200, "body": "{}", "content_type": "application/json"},
        {
            "status": 200,
            "body": '{"access_token":"t","expires_in":"soon"}',
            "content_type": "application/json",
        },
        {"status": 400, "body": "[1]", "content_type": "application/json"},
        {"cut": "before"},
        {"truncate": 5},
    ],
    ids=str,
)
async def test_any_other_trouble_may_pass(emulator, credential, rule) -> None:
    emulator.put("faults", rules=[{"per": "request", "wire": "oauth", **rule}])
    with pytest.raises(CredentialsError) as caught:
        await credential.token()
    assert not caught.value.permanent
    assert "assertion" not in str(caught.value)
    assert "hotel" not in str(caught.value)
    emulator.put("faults", rules=[])
    assert await credential.token()


async def test_a_passing_fault_of_the_endpoint_is_sat_out(emulator, credential) -> None:
    emulator.put("faults", rules=[{"per": "request", "wire": "oauth", "status": 503, "times": 1}])
    assert await credential.token()
    assert (credential.refreshes, credential.failures) == (1, 0)


async def test_an_endpoint_that_is_not_there_is_told_in_one_line(emulator, tmp_path: Path) -> None:
    moved = tmp_path / "key.json"
    moved.write_text(json.dumps(key_of(emulator, "demo") | {"token_uri": "http://127.0.0.1:9/token"}))
    with pytest.raises(
        CredentialsError, match=r"no answer from the token endpoint \(.*check the network"
    ) as caught:
        await loaded(str(moved))["demo"].token()
    assert not caught.value.permanent
    assert "\n" not in str(caught.value)
