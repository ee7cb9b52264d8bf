"""What became of two halves of a batch."""

from dispatcher.model import SendResponse
from dispatcher.transport.batch import Posted


def test_two_halves_keep_their_messages_in_order() -> None:
    first = Posted([SendResponse("a"), SendResponse("b")])
    second = Posted([SendResponse("c"), SendResponse("d")], gone=True, unread=[0, 1])
    both = first.then(second)
    assert [response.message_id for response in both.responses] == ["a", "b", "c", "d"]
    assert both.gone
    assert both.unread == [2, 3]
    assert second.then(first).unread == [0, 1]
