from __future__ import annotations

import pytest

from dispatcher.protocol.legacy_keys import Keys, UntranslatableError, no_key


def test_a_key_that_is_said_twice_alike_is_there_once():
    keys = Keys()
    keys.put("", "priority", "high", "message.android.priority")
    keys.put("", "priority", "high", "message.apns.headers.apns-priority")
    assert keys.document() == {"priority": "high"}


def test_a_key_that_is_said_twice_differently_names_both_paths():
    keys = Keys()
    keys.put("notification", "title", "A", "message.notification.title")
    with pytest.raises(UntranslatableError) as cannot:
        keys.put("notification", "title", "B", "message.android.notification.title")
    assert cannot.value.refusal.reason.startswith("message.android.notification.title: found 'B'; ")
    assert "message.notification.title says otherwise" in cannot.value.refusal.reason


def test_empty_data_is_none():
    keys = Keys()
    keys.data({}, "message.data")
    assert keys.document() == {}


def test_long_values_are_not_repeated():
    assert len(no_key("message.notification.image", "x" * 500).refusal.reason) < 300
