from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.queue.keys import Keys, entry_time, next_id, sortable

ids = st.tuples(st.integers(0, 10**14), st.integers(0, 10**7))


def text(pair):
    return f"{pair[0]}-{pair[1]}"


def test_every_key_of_a_project_has_the_project_as_hash_tag():
    keys = Keys()
    assert keys.stream("demo-orchard-41", "high") == "fcm:{demo-orchard-41}:jobs:high"
    assert keys.delayed("p") == "fcm:{p}:delayed"
    assert keys.delayed_jobs("p") == "fcm:{p}:delayed:jobs"
    assert keys.outcomes("p") == "fcm:{p}:outcomes"
    assert keys.dead("p") == "fcm:{p}:dead"
    assert keys.control("p") == "fcm:{p}:control"
    assert keys.pauses("p") == "fcm:{p}:pauses"
    assert keys.quota("p") == "fcm:{p}:quota"
    assert keys.dedup("p", "k") == "fcm:{p}:dedup:k"
    assert keys.lease("p", "c") == "fcm:{p}:lease:c"
    assert keys.campaign("p", "c") == "fcm:{p}:campaign:c"


def test_a_namespace_stands_in_front_of_all_of_them():
    assert Keys("push").stream("p", "due") == "push:{p}:jobs:due"
    assert Keys("push").prefix("p") == "push:{p}:"


def test_stream_names_are_taken_apart_whatever_the_lane():
    keys = Keys()
    assert keys.parse_stream("fcm:{p}:jobs:normal") == ("p", "normal")
    assert keys.parse_stream("fcm:{p}:jobs:nromal") == ("p", "nromal")
    assert keys.parse_stream("fcm:{p}:outcomes") is None
    assert keys.parse_stream("other:{p}:jobs:normal") is None


def test_an_entry_id_tells_when_it_was_given():
    assert entry_time("1700000000123-4") == 1700000000.123


@given(ids, ids)
def test_padded_ids_sort_as_redis_sorts_them(a, b):
    assert (sortable(text(a)) < sortable(text(b))) == (a < b)


@given(ids)
def test_the_next_id_is_the_next(pair):
    assert next_id(text(pair)) == f"{pair[0]}-{pair[1] + 1}"


def test_the_last_id_of_a_millisecond_is_followed_by_the_next_millisecond():
    assert next_id(f"5-{2**64 - 1}") == "6-0"
