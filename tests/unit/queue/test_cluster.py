from __future__ import annotations

import pytest

from dispatcher.queue.cluster import key_of


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("XADD", "k", "*", "a", "b"), "k"),
        (("XREADGROUP", "GROUP", "STREAMS-like", "me", "COUNT", 5, "STREAMS", "k", ">"), "k"),
        (("XREAD", "COUNT", 5, "BLOCK", 1, "STREAMS", "k", "0"), "k"),
        (("XINFO", "CONSUMERS", "k", "g"), "k"),
        (("XPENDING", "k", "g"), "k"),
        (("TIME",), None),
        (("INFO",), None),
    ],
)
def test_the_key_of_a_command_is_known_without_asking_a_server(command, key):
    assert key_of(command) == key
