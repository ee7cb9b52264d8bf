"""The pool of XMPP connections, where it decides without a network; with one: tests/integration/pipeline/test_xmpp.py."""

import asyncio
import ssl

import pytest

from dispatcher.model import Fate, SendResponse
from dispatcher.protocol.xmpp import Incoming
from dispatcher.transport.wire import always
from dispatcher.transport.xmpp_call import Call, Letter
from dispatcher.transport.xmpp_client import Account
from dispatcher.transport.xmpp_link import Link
from dispatcher.transport.xmpp_pool import PROBE_S, Dial, Pool

ACCOUNT = Account("127.0.0.1", 1, "fcm.googleapis.com", "1", "1@fcm.googleapis.com")


@pytest.fixture
async def pool():
    made = Pool(Dial(ACCOUNT, ssl.create_default_context(), 1.0), 2)
    yield made
    await made.aclose()


def call(may_send=always):
    letters = [Letter("m0", "t", b"<a/>"), Letter("m1", "t", b"<b/>")]
    return Call(letters, [SendResponse()] * 2, 10, 15.0, asyncio.get_running_loop().time(), may_send)


class Wire:
    """What a link writes to."""

    def __init__(self, link):
        self.written, self._link = [], link

    def write(self, data):
        self.written.append(data)

    def end(self, why):
        self._link.ended(why)

    cut = end


def connected(pool):
    link = Link(pool)
    link.client = Wire(link)
    pool._links.append(link)
    return link


async def test_after_the_end_nothing_is_sent_and_nothing_is_opened(pool):
    pool.cut_off()
    batch = call()
    await pool.carry(batch, "key")
    assert {response.error.fate for response in batch.responses} == {Fate.NOT_SENT}
    assert pool.attempts == 0


async def test_a_refused_key_is_not_tried_again_for_a_while_and_another_one_at_once(pool):
    pool._key, pool._refused_at, pool._cut_off = "bad", asyncio.get_running_loop().time(), False
    batch = call()
    await pool.carry(batch, "bad")
    error = batch.responses[0].error
    assert (error.http_status, error.wire, error.word) == (401, "xmpp", "AUTHENTICATION_FAILED")
    assert not pool._wants_more()
    pool.use("good")
    assert pool._wants_more()


async def test_a_refused_key_is_tried_again_after_a_minute_if_there_is_something_to_send(pool):
    pool._key, pool._refused_at = "bad", asyncio.get_running_loop().time() - PROBE_S
    sending = asyncio.create_task(pool.carry(call(), "bad"))
    await asyncio.sleep(0)
    assert pool._wants_more()
    sending.cancel()
    await asyncio.wait([sending])


async def test_the_least_busy_connection_comes_first(pool):
    first, second = connected(pool), connected(pool)
    one, other = call(), call()
    pool._calls.append(one)
    pool.changed()
    pool._calls.append(other)
    pool.changed()
    assert [link.busy for link in (first, second)] == [2, 2]


async def test_what_is_no_longer_ours_does_not_leave(pool):
    link = connected(pool)
    batch = call(may_send=lambda: False)
    pool._calls.append(batch)
    pool.changed()
    assert link.client.written == []
    assert batch.responses[0].error.reason == "not sent: the lease ran out"


async def test_draining_connections_are_replaced_at_once_but_not_over_and_over(pool):
    for _ in range(2):
        pool.drained(connected(pool))
    assert (pool._owed, pool._reconnect.wait(asyncio.get_running_loop().time())) == (2, 0.0)
    pool.drained(connected(pool))
    assert pool._owed == 2
    assert pool._reconnect.wait(asyncio.get_running_loop().time()) > 0


async def test_a_lost_connection_is_awaited_before_the_next_and_a_drained_one_is_not(pool):
    drained, lost = connected(pool), connected(pool)
    drained.drained = True
    drained.ended("closed by the server")
    assert pool._reconnect.wait(asyncio.get_running_loop().time()) == 0.0
    lost.ended("reset")
    assert pool._reconnect.wait(asyncio.get_running_loop().time()) > 0


async def test_what_came_is_given_out_once_in_order(pool):
    link = connected(pool)
    pool.came(link, [Incoming("d", "u1", "", b"{}")])
    pool.came(link, [Incoming("d", "u2", "", b"{}")])
    assert [one.incoming.message_id for one in await pool.arrived()] == ["u1", "u2"]
