"""Access tokens: one refresh at a time, ahead of expiry, what an error may say."""

import asyncio
import datetime as dt
import threading
from pathlib import Path

import pytest
from google.auth.exceptions import RefreshError, TransportError

from dispatcher.errors import CredentialsError
from dispatcher.transport.auth import FAILED_REST_S, FileToken, GoogleCredential, StaticToken
from dispatcher.transport.secret_file import SecretFile


class Scripted:
    """Credentials whose refresh does what the script says next, and says when it is being asked."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.token: str | None = None
        self.expiry: dt.datetime | None = None
        self.go = threading.Event()
        self.go.set()

    def refresh(self, request: object) -> None:
        self.go.wait(10)
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        self.token, lifetime = step
        self.expiry = (
            None
            if lifetime is None
            else dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=lifetime)
        )


async def test_a_token_is_fetched_once_and_kept() -> None:
    credential = GoogleCredential(Scripted(("one", 3600)), "key.json")
    assert not credential.ready
    assert credential.current == ""
    assert credential.refresh_in_s == 0
    assert [await credential.token() for _ in range(3)] == ["one"] * 3
    assert credential.ready
    assert (credential.refreshes, credential.failures) == (1, 0)
    assert 3500 < credential.expires_in_s <= 3600
    assert 3600 - 361 < credential.refresh_in_s <= 3600 - 300


async def test_a_token_without_expiry_is_taken_for_an_hour() -> None:
    credential = GoogleCredential(Scripted(("one", None)), "key.json")
    await credential.token()
    assert 3500 < credential.expires_in_s <= 3600


async def test_a_short_lived_token_is_renewed_at_half_its_life() -> None:
    credential = GoogleCredential(Scripted(("one", 100)), "key.json")
    await credential.token()
    assert 38 < credential.refresh_in_s <= 50


async def test_an_expired_token_is_replaced() -> None:
    credential = GoogleCredential(Scripted(("one", -1), ("two", 3600)), "key.json")
    assert await credential.renew("") == "one"
    assert not credential.ready
    assert credential.expires_in_s == 0
    assert await credential.token() == "two"


async def test_a_storm_of_refusals_causes_one_refresh() -> None:
    source = Scripted(("one", 3600), ("two", 3600))
    credential = GoogleCredential(source, "key.json")
    await credential.token()
    source.go.clear()
    storm = [asyncio.create_task(credential.renew("one")) for _ in range(100)]
    await asyncio.sleep(0)
    source.go.set()
    assert set(await asyncio.gather(*storm)) == {"two"}
    assert await credential.renew("one") == "two"
    assert credential.refreshes == 2


async def test_a_storm_causes_one_refresh_even_if_the_token_stays_the_same() -> None:
    # A metadata server gives the same token out until shortly before it expires.
    source = Scripted(("one", 3600), ("one", 3600))
    credential = GoogleCredential(source, "key.json")
    await credential.token()
    source.go.clear()
    storm = [asyncio.create_task(credential.renew("one")) for _ in range(100)]
    await asyncio.sleep(0)
    source.go.set()
    assert set(await asyncio.gather(*storm)) == {"one"}
    assert credential.refreshes == 2


async def test_a_storm_shares_one_failure() -> None:
    source = Scripted(TransportError("down"), ("two", 3600))
    credential = GoogleCredential(source, "key.json")
    source.go.clear()
    storm = [asyncio.create_task(credential.token()) for _ in range(100)]
    await asyncio.sleep(0)
    source.go.set()
    failures = await asyncio.gather(*storm, return_exceptions=True)
    assert {type(failure) for failure in failures} == {CredentialsError}
    assert (credential.refreshes, credential.failures) == (1, 1)
    assert await credential.token() == "two"


async def test_who_stops_waiting_leaves_the_refresh_to_the_others() -> None:
    source = Scripted(("one", 3600))
    credential = GoogleCredential(source, "key.json")
    source.go.clear()
    impatient = asyncio.create_task(credential.token())
    patient = asyncio.create_task(credential.token())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    source.go.set()
    assert impatient.cancelled()
    assert await patient == "one"
    assert credential.refreshes == 1


async def test_the_old_token_serves_while_the_next_is_fetched() -> None:
    source = Scripted(("one", 3600), ("two", 3600))
    credential = GoogleCredential(source, "key.json")
    await credential.token()
    source.go.clear()
    renewal = asyncio.create_task(credential.renew("one"))
    await asyncio.sleep(0)
    assert await credential.token() == "one"
    source.go.set()
    assert await renewal == "two"


SECRET = "-----BEGIN PRIVATE KEY----- MIIEv"


@pytest.mark.parametrize(
    ("error", "permanent", "says"),
    [
        (
            RefreshError(
                "x" + SECRET, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            ),
            True,
            "invalid_grant: Invalid JWT Signature.",
        ),
        (RefreshError("x", {"error": "server_error"}, retryable=True), False, "server_error"),
        (RefreshError(f"<html>You sent assertion={SECRET}</html>"), False, "no answer"),
        (RefreshError(SECRET, {"hint": SECRET}), False, "no answer"),
        (TransportError(SECRET), False, "TransportError"),
        (ValueError(SECRET), False, "ValueError"),
        (UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET), False, "UnicodeDecodeError"),
    ],
)
async def test_a_failure_names_the_key_file_and_never_quotes_what_was_sent(
    error: Exception, permanent: bool, says: str
) -> None:
    credential = GoogleCredential(Scripted(error), "keys/a.json")
    with pytest.raises(CredentialsError) as caught:
        await credential.token()
    assert caught.value.permanent is permanent
    assert says in str(caught.value)
    assert str(caught.value).startswith("keys/a.json: ")
    assert SECRET[5:20] not in str(caught.value)
    assert caught.value.__suppress_context__
    assert "\n" not in str(caught.value)
    assert credential.failures == 1


async def test_a_static_token_never_changes() -> None:
    token = StaticToken("t")
    assert token.ready
    assert await token.token() == await token.renew("t") == "t"
    assert token.refresh_in_s == float("inf")


async def test_a_storm_rereads_a_token_file_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    token = FileToken(SecretFile(file))
    assert (await token.token(), token.current) == ("one", "one")
    file.write_text("two")
    assert await token.token() == "one"
    assert set(await asyncio.gather(*(token.renew("one") for _ in range(100)))) == {"two"}
    assert await token.renew("one") == "two"
    assert (token.refreshes, token.failures) == (1, 0)


async def test_a_token_file_that_is_gone_leaves_the_old_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    token = FileToken(SecretFile(file))
    file.unlink()
    with pytest.raises(CredentialsError, match="cannot be read"):
        await token.renew("one")
    assert token.current == "one"
    assert token.failures == 1


async def test_after_a_failure_the_next_refresh_waits_longer_each_time_unless_it_is_needed() -> None:
    down = TransportError("down")
    credential = GoogleCredential(Scripted(down, down, ("one", 3600)), "key.json")
    for rest in (FAILED_REST_S, 2 * FAILED_REST_S):
        with pytest.raises(CredentialsError):
            await credential.token()
        assert rest - 1 < credential.refresh_in_s <= rest
    assert await credential.token() == "one"
    assert credential.refresh_in_s > 3000


async def test_another_key_is_tried_soon_and_the_old_token_serves_until_then() -> None:
    first = Scripted(("one", 3600))
    credential = GoogleCredential(first, "a.json")
    await credential.token()
    assert not credential.replace(first, "a.json")
    assert credential.refresh_in_s > 3000
    assert credential.replace(Scripted(("two", 3600)), "b.json")
    assert credential.refresh_in_s == 0
    assert await credential.token() == "one"
    assert await credential.renew("one") == "two"


async def test_a_key_replaced_during_its_refresh_is_tried_as_well() -> None:
    slow = Scripted(("one", 3600))
    slow.go.clear()
    credential = GoogleCredential(slow, "a.json")
    flight = asyncio.create_task(credential.token())
    await asyncio.sleep(0)  # who asks
    await asyncio.sleep(0)  # the refresh
    assert credential.refreshes == 1
    credential.replace(Scripted(("two", 3600)), "b.json")
    slow.go.set()
    assert await flight == "one"
    assert credential.refresh_in_s == 0
