"""Who may log in to the emulator's XMPP, and what all its connections share."""

import pytest

from dispatcher.emulator.credentials import Account, number_of, server_key_of
from dispatcher.emulator.faults import Scenario
from dispatcher.emulator.state import State
from dispatcher.emulator.xmpp import Xmpp

PROJECT = "demo-orchard-41"


@pytest.fixture
def state():
    made = State()
    for name in (PROJECT, "other-2"):
        made.authority.trust(Account(name, f"of {name}", "key", None, number_of(name), server_key_of(name)))
    return made


@pytest.fixture
def xmpp(state):
    return Xmpp(state, lambda: 0.0)


def test_a_sender_id_and_its_server_key_open_the_project(xmpp):
    assert xmpp.login(f"{number_of(PROJECT)}@gcm.googleapis.com", server_key_of(PROJECT)) == PROJECT


@pytest.mark.parametrize(
    ("number", "key"),
    [(number_of(PROJECT), server_key_of("other-2")), ("1", server_key_of(PROJECT)), (number_of(PROJECT), "")],
)
def test_others_do_not(xmpp, number, key):
    assert xmpp.login(number, key) is None


def test_a_key_that_the_admin_api_admits_opens_its_project_for_any_number(xmpp, state):
    state.authority.admit_key("AAAAmine:key", "made-up")
    assert xmpp.login("123", "AAAAmine:key") == "made-up"


def test_where_anybody_is_believed_the_number_is_the_project(state):
    state.install(Scenario(auth="any"))
    assert Xmpp(state, lambda: 0.0).login(f"{number_of(PROJECT)}@fcm.googleapis.com", "whatever") == PROJECT


def test_a_reset_forgets_what_waits(xmpp):
    xmpp.order(PROJECT, [])
    xmpp.counts["violations"] = 3
    xmpp.silent = True
    xmpp.reset()
    assert (xmpp.waiting, xmpp.counts, xmpp.silent) == (0, {}, False)
