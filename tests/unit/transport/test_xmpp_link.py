"""One XMPP connection: whose answer is whose, a hundred under way, draining, silence."""

import asyncio

import orjson
import pytest

from dispatcher.model import Fate, SendResponse
from dispatcher.protocol import xmpp_server
from dispatcher.protocol.xml_stream import Element, StreamReader, header
from dispatcher.protocol.xmpp import MESSAGE, PAYLOAD, stanza
from dispatcher.transport.wire import always
from dispatcher.transport.xmpp_call import Call, Letter
from dispatcher.transport.xmpp_link import MOST_LOST, MOST_OWED, MOST_PENDING, Link


class Wire:
    """The connection, as far as a link sees it."""

    def __init__(self):
        self.written, self.ended, self.was_cut, self.paused = [], "", "", False

    def write(self, data):
        self.written.append(data)

    def end(self, why):
        self.ended = why

    def cut(self, why):
        self.was_cut = why

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False


class Owner:
    """The pool, as far as a link sees it."""

    def __init__(self):
        self.incoming, self.changes, self.drains, self.losses = [], 0, 0, 0

    def came(self, link, incoming):
        self.incoming += incoming

    def changed(self):
        self.changes += 1

    def drained(self, link):
        self.drains += 1

    def lost(self, link):
        self.losses += 1


@pytest.fixture
async def link():
    made = Link(Owner())
    made.client = Wire()
    return made


def batch(*targets, broadcast=False, timeout_s=15.0):
    letters = [
        Letter(f"m{n}", target, stanza(f"m{n}", "{}"), broadcast=broadcast)
        for n, target in enumerate(targets)
    ]
    now = asyncio.get_running_loop().time()
    return Call(letters, [SendResponse()] * len(letters), 1000, timeout_s, now, always)


def sent(link, *targets, since=None, **options):
    call = batch(*targets, **options)
    link.send(call, len(targets), asyncio.get_running_loop().time() if since is None else since)
    return call


def heard(link, *bodies):
    link.heard(
        [Element(MESSAGE, {}, [Element(PAYLOAD, {}, [], orjson.dumps(body).decode())]) for body in bodies]
    )


def ack(name, sender="t", **more):
    return {"message_type": "ack", "message_id": name, "from": sender, **more}


def nack(name, error, sender="t"):
    return {"message_type": "nack", "message_id": name, "from": sender, "error": error}


async def test_many_messages_leave_in_one_piece(link):
    sent(link, "a", "b", "c")
    (data,) = link.client.written
    assert data.count(b"<message ") == 3


async def test_answers_come_in_any_order(link):
    call = sent(link, "a", "b", "c")
    heard(link, ack("m2", "c"), nack("m0", "BAD_REGISTRATION", "a"), ack("m1", "b"))
    words = [response.error.word if response.error else response.message_id for response in call.responses]
    assert words == ["BAD_REGISTRATION", "m1", "m2"]
    assert link.busy == 0


async def test_a_hundred_are_under_way_and_no_more(link):
    sent(link, *["t"] * MOST_PENDING)
    assert link.room == 0
    heard(link, ack("m5"))
    assert link.room == 1


async def test_a_partial_answer_without_id_belongs_to_the_group_it_is_from(link):
    call = sent(link, "a", "group", "b")
    heard(
        link,
        {
            "message_type": "ack",
            "from": "group",
            "success": 1,
            "failure": 1,
            "failed_registration_ids": ["x"],
        },
    )
    assert call.responses[1].failed_tokens == ("x",)


async def test_a_short_answer_belongs_to_the_only_topic_under_way(link):
    tokens, topic = sent(link, "a"), sent(link, "/topics/news", broadcast=True)
    heard(link, {"error": "TopicsMessageRateExceeded"})
    assert topic.responses[0].error.word == "TOPICS_MESSAGE_RATE_EXCEEDED"
    assert not tokens.done.done()


async def test_of_two_topics_a_short_answer_belongs_to_neither(link):
    call = batch("/topics/a", "/topics/b", broadcast=True)
    link.send(call, 2, 0.0)
    heard(link, {"error": "TopicsMessageRateExceeded"})
    assert (link.busy, link.strays) == (2, 1)


async def test_an_answer_to_nothing_disturbs_nothing(link):
    call = sent(link, "a")
    heard(link, nack("never-sent", "BAD_REGISTRATION"), ack("m7"))
    assert (link.strays, link.busy, call.done.done()) == (2, 1, False)


async def test_acks_that_the_server_could_not_read_are_counted(link):
    heard(link, nack("dr2:x", "BAD_ACK"))
    assert link.bad_acks == 1


async def test_what_a_draining_connection_refuses_waits_again_and_nothing_new_goes_there(link):
    call = sent(link, "a", "b")
    heard(link, nack("m0", "CONNECTION_DRAINING", "a"))
    assert (list(call.waiting), link.room, link._pool.drains) == ([0], 0, 1)
    assert link.client.ended == ""
    heard(link, ack("m1", "b"))
    assert link.client.ended == "drained"


async def test_a_draining_connection_waits_for_our_acks_too(link):
    heard(
        link,
        {"from": "d", "message_id": "u", "data": {}},
        {"message_type": "control", "control_type": "CONNECTION_DRAINING"},
    )
    assert link.client.ended == ""
    link.acknowledge(link._pool.incoming)
    assert link.client.ended == "drained"


async def test_acks_are_written_without_room_too(link):
    sent(link, *["t"] * MOST_PENDING)
    heard(link, {"from": "d", "message_id": "u", "data": {}})
    link.acknowledge(link._pool.incoming)
    reader = StreamReader()
    reader.feed(header("jabber:client", {}))
    (element,) = reader.feed(link.client.written[-1])
    assert xmpp_server.read_sent(element) == xmpp_server.Acked("d", "u")


async def test_a_server_that_sends_on_without_our_acks_is_not_read_for_a_while(link):
    heard(link, *[{"from": "d", "message_id": f"u{n}", "data": {}} for n in range(MOST_OWED)])
    assert link.client.paused
    link.acknowledge(link._pool.incoming)
    assert not link.client.paused


async def test_the_fate_of_what_was_under_way_on_a_lost_connection_is_unknown(link):
    call = sent(link, "a", "b")
    heard(link, ack("m0", "a"))
    link.ended("reset")
    assert [response.error and response.error.fate for response in call.responses] == [None, Fate.UNKNOWN]
    assert (link._pool.losses, link.over.done()) == (1, True)


async def test_a_connection_without_any_sign_of_life_is_cut(link):
    now = asyncio.get_running_loop().time()
    sent(link, "a", since=now)
    link.look(now + 14)
    assert link.client.was_cut == ""
    link.look(now + 16)
    assert link.client.was_cut


async def test_one_answer_that_never_comes_costs_its_message_only_and_its_room(link):
    now = asyncio.get_running_loop().time()
    call = sent(link, "a", since=now - 20)
    heard(link, {"message_type": "new"})
    link.look(now)
    assert call.responses[0].error.fate is Fate.UNKNOWN
    assert (link.client.was_cut, link.room) == ("", MOST_PENDING - 1)
    heard(link, ack("m0", "a"))
    assert link.room == MOST_PENDING


async def test_a_connection_on_which_many_answers_never_came_is_replaced(link):
    sent(link, *["t"] * MOST_LOST, since=asyncio.get_running_loop().time() - 20)
    heard(link, {"message_type": "new"})
    link.look(asyncio.get_running_loop().time())
    assert (link._pool.drains, link.client.ended) == (1, "drained")


async def test_a_topic_may_take_longer_than_the_tokens_behind_it(link):
    now = asyncio.get_running_loop().time()
    topic = sent(link, "/topics/x", since=now - 20, broadcast=True, timeout_s=60.0)
    letters = [Letter("tok", "t", b"")]
    token = Call(letters, [SendResponse()], 1, 15.0, now, always)
    link.send(token, 1, now - 19)
    heard(link, {"message_type": "new"})
    link.look(now)
    assert (topic.done.done(), token.done.done()) == (False, True)


async def test_silence_is_broken_by_a_space(link):
    link.look(asyncio.get_running_loop().time() + 61)
    assert link.client.written == [b" "]
