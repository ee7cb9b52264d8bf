"""The messages of a batch, each with its own fate."""

import pytest

from dispatcher.model import Fate
from dispatcher.protocol.http2.streams import Answered, Failed
from dispatcher.transport.http2_call import RESENDS, Call

OK = b'{"name":"projects/p/messages/1"}'


class Wire:
    """Takes messages; gives them up with the fate that it is told, or with a part of an answer."""

    def __init__(self, known: Fate | bytes = Fate.UNKNOWN) -> None:
        self.known = known
        self.abandoned: list[int] = []

    def abandon(self, stream: int, reason: str) -> Answered | Failed:
        self.abandoned.append(stream)
        if isinstance(self.known, bytes):
            return Answered(stream, 200, [], self.known, reason)
        return Failed(stream, self.known, reason)


def call(count: int = 3, at_once: int = 10, wire: Wire | None = None, *, start: int = 0) -> Call:
    made = Call((), [b"body"] * count, at_once, 100.0)
    for number in range(start):
        assert made.waiting.popleft() == number
        made.started(number, wire or Wire(), 2 * number + 1, 100.0 + number)
    return made


def fates(made: Call) -> list[str]:
    return [response.error.fate if response.error else "accepted" for response in made.responses]


async def test_each_answer_is_its_messages_and_the_last_one_ends_the_call() -> None:
    made = call(start=3)
    made.answered(2, Answered(5, 200, [], OK), 104.0)
    refusal = Answered(1, 429, [(b"retry-after", b"7"), (b"content-type", b"application/json")], b"{}")
    made.answered(0, refusal, 104.0)
    assert not made.done.done()
    made.failed(1, Failed(3, Fate.UNKNOWN, "reset"), 105.0)
    assert made.done.done()
    assert fates(made) == [Fate.ANSWERED, Fate.UNKNOWN, "accepted"]
    assert made.responses[0].error.retry_after == 7
    assert not made.responses[1].error.whole_request
    assert made.took == {200: [2.0], 429: [4.0], 0: [4.0]}


async def test_a_broken_refusal_is_of_unknown_fate_and_a_whole_acceptance_is_believed() -> None:
    made = call(2, start=2)
    made.answered(0, Answered(1, 404, [], b'{"err', "cut"), 101.0)
    made.answered(1, Answered(3, 200, [], OK, "cut"), 101.0)
    assert fates(made) == [Fate.UNKNOWN, "accepted"]
    assert made.responses[0].error.http_status == 404


async def test_what_was_not_processed_goes_out_again_a_few_times() -> None:
    made = call(1, start=1)
    for _ in range(RESENDS):
        made.failed(0, Failed(1, Fate.NOT_SENT, "refused"), 101.0)
        assert (made.room, made.under_way) == (1, 0)
        made.started(made.waiting.popleft(), Wire(), 1, 101.0)
    made.failed(0, Failed(1, Fate.NOT_SENT, "refused"), 101.0)
    assert fates(made) == [Fate.NOT_SENT]
    assert made.done.done()


async def test_room_is_what_may_be_under_way_at_once() -> None:
    assert call(5, at_once=2).room == 2
    assert call(5, at_once=2, start=1).room == 1
    assert call(5, at_once=0).room == 1
    assert call(1, at_once=9, start=1).room == 0


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (Fate.NOT_SENT, Fate.NOT_SENT),
        (Fate.UNKNOWN, Fate.UNKNOWN),
        (OK, "accepted"),  # only its end is missing
        (OK[:9], Fate.UNKNOWN),
    ],
)
async def test_only_what_is_overdue_is_given_up(known: Fate | bytes, told: str) -> None:
    wire = Wire(known)
    made = call(4, wire=wire, start=3)
    assert made.waits_since == 100.0
    made.expire(101.0, "late", 111.0)
    assert wire.abandoned == [1, 3]
    assert made.under_way == 1
    assert fates(made)[:2] == [told, told]
    assert list(made.waiting) == [3]
    assert made.waits_since == 102.0


async def test_who_waits_for_a_connection_waits_as_long_as_for_an_answer() -> None:
    made = call(2)
    made.expire(99.0, "late", 109.0)
    assert len(made.waiting) == 2
    made.expire(100.0, "late", 110.0)
    assert fates(made) == [Fate.NOT_SENT] * 2
    assert made.done.done()


async def test_an_answer_that_comes_too_late_changes_nothing() -> None:
    made = call(1, start=1)
    made.expire(200.0, "late", 210.0)
    made.answered(0, Answered(1, 200, [], OK), 211.0)
    made.failed(0, Failed(1, Fate.NOT_SENT, "x"), 211.0)
    assert fates(made) == [Fate.UNKNOWN]
    assert made.took == {0: [110.0]}


async def test_nothing_to_send_is_done_at_once() -> None:
    assert call(0).done.done()
