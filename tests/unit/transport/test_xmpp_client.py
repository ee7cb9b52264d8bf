"""One XMPP connection, its bytes carried by hand to the emulator's session: login, binding, what ends it, what is logged."""

import asyncio
import logging
import ssl

import pytest

from dispatcher.emulator.credentials import Account as Known
from dispatcher.emulator.state import State
from dispatcher.emulator.xmpp import Xmpp
from dispatcher.emulator.xmpp_session import Outlet, Session
from dispatcher.protocol.xml_stream import Element
from dispatcher.protocol.xmpp import MESSAGE
from dispatcher.transport.xmpp_client import Account, Client, LoginRefused

NUMBER, KEY = "884400112233", "AAAAsecret:key"
ACCOUNT = Account("127.0.0.1", 5235, "fcm.googleapis.com", NUMBER, f"{NUMBER}@fcm.googleapis.com")


class Socket:
    """What a client writes, and a TLS connection as far as it asks."""

    def __init__(self, client):
        self.written, self.closed, self._client = b"", False, client
        self._tls = ssl.create_default_context().wrap_bio(
            ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="x"
        )

    def get_extra_info(self, name, default=None):
        return self._tls if name == "ssl_object" else default

    def write(self, data):
        self.written += data

    def taken(self):
        data, self.written = self.written, b""
        return data

    def close(self):
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._client.connection_lost, None)

    abort = close


class Line:
    """A client, and the server's session at the other end."""

    def __init__(self, password=KEY):
        state = State()
        state.authority.trust(Known("demo", "account", "key", None, NUMBER, KEY))
        self.messages, self.ends, self.back = [], [], []
        self.client = Client(ACCOUNT, password, self.messages.extend, self.ends.append)
        self.socket = Socket(self.client)
        self.xmpp = Xmpp(state, lambda: 0.0)
        self.session = Session(
            self.xmpp, Outlet(self.back.append, lambda *_: None, lambda: None, lambda: None)
        )

    async def hears(self, data):
        self.client.data_received(data)
        await asyncio.sleep(0)

    async def talk(self):
        """Until neither side has anything left to say."""
        self.client.connection_made(self.socket)
        for _ in range(20):
            await asyncio.sleep(0)  # slixmpp looks at features in a task of its own
            data, back = self.socket.taken(), b"".join(self.back)
            self.back.clear()
            if back and not self.socket.closed:
                self.client.data_received(back)
            if data:
                self.session.receive(data)
        return self


async def test_it_logs_in_under_the_whole_address_and_is_bound():
    line = await Line().talk()
    assert line.client.ready.done()
    await line.client.ready
    assert line.client.boundjid.bare == f"{NUMBER}@fcm.googleapis.com"
    assert line.xmpp.counts["opened"] == 1


async def test_a_refused_password_is_a_refused_login():
    line = await Line("AAAAwrong").talk()
    with pytest.raises(LoginRefused, match="not-authorized"):
        await line.client.ready
    assert line.xmpp.counts["refused"] == 1


async def test_messages_that_come_before_the_start_are_told_at_the_start():
    line = await Line().talk()
    await line.hears(b"<message id='1'/>")
    assert line.messages == []
    line.client.start()
    await line.hears(b"<message id='2'/><message id='3'/>")
    assert line.messages == [Element(MESSAGE, {"id": number}) for number in "123"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"</stream:stream>", "the server closed the stream"),
        (b"<a></b>", "malformed XML from the server: not-well-formed"),
        (b"<!DOCTYPE x>", "malformed XML from the server: "),
        (b"<stream:error><conflict xmlns='x'/></stream:error>", "stream error: conflict"),
    ],
)
async def test_what_ends_a_stream_ends_the_connection_and_is_told_once(data, why):
    line = await Line().talk()
    await line.hears(data)
    (told,) = line.ends
    assert told.startswith(why)


async def test_what_came_whole_before_the_end_is_told_first():
    line = await Line().talk()
    line.client.start()
    await line.hears(b"<message id='1'/></stream:stream>")
    assert [message.attributes["id"] for message in line.messages] == ["1"]
    assert line.ends


async def test_a_redirection_to_another_host_is_not_followed():
    line = await Line().talk()
    await line.hears(
        b"<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>evil:1</see-other-host></stream:error>"
    )
    assert line.ends == ["stream error: see-other-host"]
    assert not line.client.is_connecting()


async def test_stanzas_that_are_none_of_ours_disturb_nothing():
    line = await Line().talk()
    await line.hears(b"<presence from='x'/><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq><x/>")
    assert line.ends == []


async def test_neither_password_nor_token_reaches_a_log(caplog):
    caplog.set_level(logging.DEBUG)
    line = await Line().talk()
    line.client.start()
    line.client.write(b'<message><gcm xmlns=\'google:mobile:data\'>{"to":"fQ7x-token"}</gcm></message>')
    assert "auth" not in caplog.text
    assert "fQ7x-token" not in caplog.text
