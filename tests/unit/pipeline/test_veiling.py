"""What servers say, without the secrets they quote."""

import pytest

from dispatcher.model import Batch, Fate, Job, SendError, SendResponse
from dispatcher.pipeline.veiling import hide, veil
from dispatcher.telemetry.logs import short

ACCESS = "opaque-access-token-0123456789"
TOKENS = [f"odd-looking/registration={n}/token" for n in range(3)]


def batch_of(values: list[str], kind: str = "token") -> Batch:
    jobs = [
        Job(
            entry_id=f"{n}-0",
            stream="normal",
            project="p",
            entry=[],
            nbytes=1,
            id=str(n),
            lane="normal",
            message=b"{}",
            kind=kind,
            values=[value],
            multicast=False,
            enqueued_at=0.0,
            expires_at=1.0,
        )
        for n, value in enumerate(values)
    ]
    return Batch("p", "normal", jobs, len(jobs), len(jobs), 1)


def failed(reason: str) -> SendResponse:
    return SendResponse(error=SendError(Fate.ANSWERED, 400, reason=reason))


def test_a_message_may_quote_neither_its_token_nor_the_access_token() -> None:
    responses = [SendResponse(), failed(f"no such {TOKENS[1]}, said Bearer {ACCESS}"), failed("plain")]
    veil(batch_of(TOKENS), responses, [ACCESS])
    assert responses[1].error.reason == f"no such {short(TOKENS[1])}, said Bearer [hidden]"
    assert responses[2].error.reason == "plain"


def test_an_error_of_the_whole_request_may_quote_none_of_its_tokens() -> None:
    error = SendError(Fate.ANSWERED, 400, whole_request=True, reason=" ".join([*TOKENS, ACCESS]))
    veil(batch_of(TOKENS), [SendResponse(error=error)] * 3, {ACCESS})
    assert error.reason == " ".join([*map(short, TOKENS), "[hidden]"])


def test_topics_are_no_secrets() -> None:
    responses = [failed("unknown topic news-of-the-whole-world")]
    veil(batch_of(["news-of-the-whole-world"], "topic"), responses, [""])
    assert responses[0].error.reason == "unknown topic news-of-the-whole-world"


def test_what_looks_like_a_secret_goes_whosever_it_is() -> None:
    responses = [failed("header was Authorization: Bearer ya29.somebody-elses")]
    veil(batch_of(TOKENS[:1]), responses, [ACCESS])
    assert "somebody" not in responses[0].error.reason


@pytest.mark.parametrize("cut", [12, 20, 29])
@pytest.mark.parametrize("mark", ["", "...", "…"])
def test_a_secret_that_was_cut_off_at_the_end_is_one_still(cut: int, mark: str) -> None:
    assert hide(f"got {ACCESS[:cut]}{mark}", ACCESS, "X") == "got X"


def test_short_words_stay() -> None:
    assert hide("a token t is not a text", "t", "X") == "a token t is not a text"
