"""What a server reads of a sender's stanzas (its answers are held against their reader in test_xmpp.py)."""

import pytest

from dispatcher.protocol.xml_stream import Element
from dispatcher.protocol.xmpp import MESSAGE, PAYLOAD
from dispatcher.protocol.xmpp_server import Acked, Sent, Unreadable, read_sent


def element(text):
    return Element(MESSAGE, {"id": "7"}, [Element(PAYLOAD, {}, [], text)])


def test_a_message_has_a_name_and_a_target():
    text = '{"to":"t","message_id":"m","data":{}}'
    assert read_sent(element(text)) == Sent("m", "t", text.encode())


def test_a_condition_is_a_target():
    assert read_sent(element('{"condition":"c","message_id":"m"}')).target == "c"


def test_an_ack_is_told_from_a_message_by_its_type():
    assert read_sent(element('{"to":"t","message_id":"m","message_type":"ack"}')) == Acked("t", "m")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"to":"t"}', '{"message_id":""}', '{"message_id":7}'])
def test_without_an_object_and_a_message_id_it_is_unreadable(text):
    read = read_sent(element(text))
    assert isinstance(read, Unreadable)
    assert (read.id, read.text) == ("7", text)


def test_a_message_without_payload_is_unreadable():
    assert isinstance(read_sent(Element(MESSAGE)), Unreadable)
