"""dispatcher.policy.room"""

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.policy.room import Free, ReadSize, Room


def test_the_last_tenth_is_kept_for_the_high_lane():
    room = Room(max_messages=1000, max_bytes=10_000)
    assert room.free("p", "bulk", share=1000) == Free(900, 9000)
    assert room.free("p", "high", share=1000) == Free(1000, 10_000)
    room.take("p", 900, 9000)
    assert room.free("p", "bulk", share=1000) == Free(0, 0)
    assert room.free("p", "due", share=1000) == Free(0, 0)
    assert room.free("p", "high", share=1000) == Free(100, 1000)


def test_a_tenth_of_a_projects_share_is_kept_for_its_high_lane_too():
    room = Room(1000, 10_000)
    room.take("p", 180, 0)
    assert room.free("p", "normal", share=200) == Free(0, 0)
    assert room.free("p", "high", share=200).messages == 20
    assert room.free("q", "normal", share=200).messages == 180


def test_bytes_bound_the_room_as_well():
    room = Room(1000, 10_000)
    room.take("p", 1, 10_000)
    assert room.free("q", "high", share=500) == Free(0, 0)


def test_what_is_given_back_is_free_again_and_leaves_nothing_behind():
    room = Room(1000, 10_000)
    room.take("p", 10, 100)
    room.take("p", 5, 50)
    room.give("p", 10, 100)
    assert (room.messages, room.nbytes, room.held("p"), room.holders()) == (5, 50, 5, ["p"])
    room.give("p", 5, 50)
    assert (room.messages, room.nbytes, room.held("p"), room.holders()) == (0, 0, 0, [])


def test_the_smallest_room_still_lets_one_message_of_any_lane_in():
    assert Room(1, 100).free("p", "bulk", share=1).messages == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["high", "bulk"]), st.integers(1, 600)), max_size=40
    ),
    st.integers(1, 400),
)
def test_reading_no_more_than_is_free_never_exceeds_a_limit(reads, share):
    room = Room(1000, 100_000)
    low = 0
    for project, stream, wanted in reads:
        got = min(wanted, room.free(project, stream, share).messages)
        room.take(project, got, got * 10)
        low += got if stream == "bulk" else 0
        assert room.messages <= 1000
        assert room.held(project) <= share
        assert low <= 900


def test_a_first_read_is_small():
    assert ReadSize().count(Free(20_000, 1 << 26), idle=True, most=1000) == 16
    assert ReadSize().count(Free(3, 1 << 26), idle=True, most=1000) == 3


def test_later_reads_are_as_large_as_the_largest_entry_seen_allows():
    size = ReadSize()
    size.saw(1, 300)
    assert size.count(Free(20_000, 1 << 26), idle=False, most=1000) == 1000
    assert size.count(Free(20_000, 3_000), idle=False, most=1000) == 10
    size.saw(500, 100_000)
    assert size.count(Free(2_000, 1 << 26), idle=False, most=1000) == 4
    assert size.count(Free(20_000, 300_000), idle=False, most=1000) == 3


def test_an_entry_larger_than_the_room_is_read_alone_once_nothing_else_is_held():
    size = ReadSize()
    size.saw(500, 1000)
    assert size.count(Free(10, 100), idle=False, most=1000) == 0
    assert size.count(Free(10, 100), idle=True, most=1000) == 1
    assert size.count(Free(0, 0), idle=True, most=1000) == 0


def test_a_large_entry_is_forgotten_after_a_while():
    size = ReadSize()
    size.saw(500, 100_000)
    for _ in range(16):
        size.saw(1, 300)
    assert size.count(Free(2_000, 1 << 26), idle=False, most=1000) == 1000
