"""A batch over XMPP: what may leave, what is answered, what comes back to leave again."""

import pytest

from dispatcher.model import Fate, SendError, SendResponse
from dispatcher.transport.wire import always
from dispatcher.transport.xmpp_call import Call, Letter

REFUSED = SendError(Fate.NOT_SENT, wire="xmpp")


async def call(count, at_once=10, letters=None):
    letters = letters or [Letter(f"m{n}", "t", b"") for n in range(count)]
    return Call(letters, [SendResponse()] * len(letters), at_once, 15.0, 0.0, always)


async def test_it_is_done_when_every_message_has_its_response():
    batch = await call(2)
    for number in (batch.take(1.0), batch.take(1.0)):
        assert not batch.done.done()
        batch.answered(number, SendResponse(f"id{number}"), 0.5)
    assert batch.done.done()
    assert [response.message_id for response in batch.responses] == ["id0", "id1"]


async def test_no_more_leave_at_once_than_it_may():
    batch = await call(5, at_once=2)
    batch.take(1.0)
    batch.take(1.0)
    assert batch.room == 0
    batch.answered(0, SendResponse(), 0.1)
    assert batch.room == 1


async def test_what_was_returned_leaves_before_all_others():
    batch = await call(3)
    number = batch.take(1.0)
    batch.returned(number)
    assert [batch.take(2.0) for _ in range(3)] == [0, 1, 2]


async def test_what_waits_can_be_refused_and_what_is_under_way_not():
    batch = await call(3)
    batch.take(1.0)
    batch.refuse_waiting(REFUSED)
    assert not batch.done.done()
    batch.answered(0, SendResponse("id"), 0.1)
    assert [response.error for response in batch.responses] == [None, REFUSED, REFUSED]


async def test_messages_that_have_a_response_already_do_not_leave():
    batch = await call(2, letters=[None, Letter("m", "t", b"")])
    assert list(batch.waiting) == [1]


async def test_with_nothing_to_send_it_is_done():
    batch = await call(1, letters=[None])
    assert batch.done.done()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 200),
        (SendError(Fate.ANSWERED, wire="xmpp", word="INVALID_JSON"), 400),
        (SendError(Fate.ANSWERED, 503, wire="xmpp"), 503),
        (SendError(Fate.UNKNOWN, wire="xmpp"), 0),
    ],
)
async def test_how_long_it_took_is_kept_by_what_came_of_it(error, status):
    batch = await call(1)
    batch.answered(batch.take(1.0), SendResponse(error=error), 0.25)
    assert batch.took == {status: [0.25]}
