"""What transports share."""

from dispatcher.model import Batch, Fate
from dispatcher.transport.wire import Timeouts, alike, not_sent, unknown_fate


def test_topics_and_conditions_have_longer() -> None:
    timeouts = Timeouts(15.0, 60.0)
    assert timeouts.of(Batch("p", "normal", [], 0, 0, 1)) == 15.0
    assert timeouts.of(Batch("p", "normal", [], 0, 0, 1, broadcast=True)) == 60.0


def test_a_failed_call_is_the_same_error_for_each_message() -> None:
    responses = alike(3, not_sent("why"))
    assert [response.error.fate for response in responses] == [Fate.NOT_SENT] * 3
    assert all(response.error.whole_request for response in responses)
    lost = unknown_fate("why", http_status=200)
    assert (lost.fate, lost.http_status, lost.whole_request) == (Fate.UNKNOWN, 200, True)
