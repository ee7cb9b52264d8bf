"""What the answer to one request says of its message."""

import pytest

from dispatcher.model import Fate
from dispatcher.protocol.answer import fcm_error, success_body
from dispatcher.transport.session import Answer
from dispatcher.transport.v1 import _read
from dispatcher.transport.wire import not_sent

UNREGISTERED = fcm_error("UNREGISTERED")[1]
JSON = "application/json; charset=UTF-8"


def read(status: int, body: bytes, content_type: str | None = JSON, broken: str = ""):
    return _read(Answer(status, content_type, None, None, body, broken))


def test_a_failed_call_says_nothing_of_other_messages() -> None:
    error = _read(not_sent("refused")).error
    assert (error.fate, error.whole_request) == (Fate.NOT_SENT, False)


def test_a_whole_answer_is_believed() -> None:
    assert read(200, success_body("projects/p/messages/1")).message_id == "projects/p/messages/1"
    assert read(404, UNREGISTERED).error.fcm_code == "UNREGISTERED"


def test_a_broken_answer_that_says_all_the_same_is_believed() -> None:
    assert read(200, success_body("projects/p/messages/1"), broken="reset").message_id
    assert read(404, UNREGISTERED, broken="reset").error.fcm_code == "UNREGISTERED"


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 503])
def test_a_refusal_whose_detail_is_lost_is_of_unknown_fate(status: int) -> None:
    for length in range(len(UNREGISTERED) - 2):
        error = read(status, UNREGISTERED[:length], broken="reset").error
        assert (error.fate, error.http_status, error.fcm_code) == (Fate.UNKNOWN, status, "")
        if status != 200 and length:
            # One that ends with its connection does not know that it broke off: its JSON shows it.
            assert read(status, UNREGISTERED[:length]).error.fate is Fate.UNKNOWN


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html>The requested URL was not found</html>", "text/html"),
        (b"", None),
        (b"", "application/json"),
        (b'{"message":"no Route matched with those values"}', "application/json"),
    ],
)
def test_a_front_ends_refusal_is_an_answer_without_fcm_code(body: bytes, content_type: str | None) -> None:
    error = read(404, body, content_type).error
    assert (error.fate, error.http_status, error.fcm_code) == (Fate.ANSWERED, 404, "")
