from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.protocol import batch
from dispatcher.protocol.answer import fcm_error, success_body
from dispatcher.protocol.batch import decode_response
from dispatcher.protocol.batch_server import SubAnswer, encode_response

GOLDEN = Path(__file__).parents[2] / "golden"
TYPE = "multipart/mixed; boundary=batch_srv"
GOOD = "projects/demo/messages/0:%d"


def good(number, content_id=None):
    return SubAnswer(content_id or str(number), 200, success_body(GOOD % number))


def gone(number, content_id=None):
    return SubAnswer(content_id or str(number), *fcm_error("UNREGISTERED"))


def answer(parts):
    return encode_response(parts, "batch_srv")


def told(answered):
    """What is known of each message: its name, its error code, or None."""
    assert answered is not None
    return [
        r.message_id or (None if r.error.fate is Fate.UNKNOWN else r.error.fcm_code or r.error.http_status)
        for r in answered.responses
    ]


def read(body, expected, content_type=TYPE):
    return told(decode_response(content_type, body, expected))


def test_a_mixed_answer_is_read_part_by_part():
    parts = [good(1), gone(2), SubAnswer("3", *fcm_error("QUOTA_EXCEEDED"), headers={"Retry-After": "60"})]
    found = decode_response(TYPE, answer(parts), 3)
    assert told(found) == [GOOD % 1, "UNREGISTERED", "QUOTA_EXCEEDED"]
    assert found.responses[2].error.retry_after == 60.0
    assert not found.responses[2].error.whole_request


def test_a_retry_date_in_a_part_is_relative_to_the_outer_date():
    part = SubAnswer("1", *fcm_error("UNAVAILABLE"), headers={"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT"})
    found = decode_response(TYPE, answer([part]), 1, date="Sun, 06 Nov 1994 08:49:37 GMT")
    assert found.responses[0].error.retry_after == 60.0


@given(st.permutations(list(range(1, 7))), st.sampled_from(["%d", "<b+%d>", "<b + %d>", "a%%2B%d", "x+y+%d"]))
@settings(max_examples=50)
def test_a_shuffled_answer_is_sorted_by_its_ids(order, form):
    parts = [(good if n % 2 else gone)(n, form % n) for n in order]
    assert read(answer(parts), 6) == [GOOD % n if n % 2 else "UNREGISTERED" for n in range(1, 7)]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "Content-ID: response-1",
            "content-id: <response-1>",
            "CONTENT-ID: <response- b+1>",
            "Content-ID: 1",
        ),
        *("Content-ID: <response-b\r\n  + 1>", "Content-ID: response-a%2B1", "Content-ID:<Response-x+1>"),
    ],
)
def test_every_form_of_an_id_is_normalised(line):
    body = f'--batch_srv\r\n{line}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{{"name":"m"}}\r\n--batch_srv--'.encode()
    two = body.replace(
        b"--batch_srv--",
        b"--batch_srv\r\nContent-ID: response-2\r\n\r\nHTTP/1.1 500\r\n\r\n\r\n--batch_srv--",
    )
    assert read(two, 2) == ["m", 500]


@pytest.mark.parametrize("content_id", ["", "own-name", "n+x"])
def test_parts_without_usable_ids_are_taken_in_order_if_they_are_as_many(content_id):
    parts = [SubAnswer(content_id, *fcm_error("UNREGISTERED")), SubAnswer(content_id, 200, success_body("m"))]
    assert read(answer(parts), 2) == ["UNREGISTERED", "m"]
    assert read(answer(parts), 3) == [None] * 3
    assert read(answer(parts), 1) == [None]


def test_a_missing_part_leaves_a_gap_that_nothing_moves_into():
    assert read(answer([good(1), gone(3)]), 3) == [GOOD % 1, None, "UNREGISTERED"]


def test_doubled_ids_tell_nothing_of_their_message():
    assert read(answer([good(1), gone(1), good(2)]), 2) == [None, GOOD % 2]
    assert read(answer([good(1), gone(1), gone(1), good(2)]), 2) == [None, GOOD % 2]
    assert read(answer([good(1), gone(1)]), 2) == [None, None]


def test_ids_that_were_never_sent_are_not_taken_by_position():
    found = decode_response(TYPE, answer([gone(7), gone(8)]), 2)
    assert told(found) == [None, None]
    assert found.extras == 2
    assert read(answer([gone(0), good(2)]), 2) == [None, GOOD % 2]


def test_a_part_without_id_among_parts_with_ids_is_nobodys():
    assert read(answer([good(1), SubAnswer(None, *fcm_error("UNREGISTERED")), good(3)]), 3) == [
        GOOD % 1,
        None,
        GOOD % 3,
    ]


def test_more_parts_than_were_sent_are_counted_and_ignored():
    found = decode_response(TYPE, answer([good(1), gone(2), good(3)]), 2)
    assert told(found) == [GOOD % 1, "UNREGISTERED"]
    assert found.extras == 1


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "multipart/mixed", None])
def test_an_answer_that_is_not_multipart_is_no_batch_answer(content_type):
    assert decode_response(content_type, b"<html>", 2) is None


def test_a_multipart_answer_without_any_part_tells_nothing():
    assert read(b"<html></html>", 2) == [None, None]
    assert read(b"--batch_srv--\r\n", 2) == [None, None]


@pytest.mark.parametrize(
    "inner",
    [
        *(
            b"nonsense\r\n\r\n{}",
            b"HTTP/1.1 2000 OK\r\n\r\n{}",
            b"",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n{}",
        ),
        *(
            b'HTTP/1.1 200 OK\r\n\r\n{"name":""}',
            b'HTTP/1.1 200 OK\r\n\r\n{"name":7}',
            b'HTTP/1.1 200\r\n\r\n{"name":"\xff"}',
        ),
    ],
)
def test_an_unreadable_part_tells_nothing_of_its_message_only(inner):
    broken = (
        b"--batch_srv\r\nContent-Type: application/http\r\nContent-ID: response-2\r\n\r\n" + inner + b"\r\n"
    )
    body = answer([good(1)]).removesuffix(b"--batch_srv--\r\n") + broken + answer([good(3)])
    assert read(body, 3) == [GOOD % 1, None, GOOD % 3]


def test_a_200_with_html_is_unknown_and_a_404_with_html_is_what_it_says():
    parts = [SubAnswer("1", 200, b"<html>"), SubAnswer("2", 404, b"<html>")]
    assert read(answer(parts), 2) == [None, 404]


def test_text_in_a_body_that_looks_like_a_delimiter_or_an_id_is_text():
    text = "\r\nContent-ID: response-2\r\n--batch_srv\r\n"
    parts = [SubAnswer("1", 200, success_body(text)), SubAnswer("2", *fcm_error("UNAVAILABLE", message=text))]
    assert read(answer(parts), 2) == [text, "UNAVAILABLE"]


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_an_answer_cut_at_any_byte_keeps_its_whole_parts_and_guesses_nothing(end, ids):
    kinds = [
        good(1),
        gone(2),
        SubAnswer("3", *fcm_error("UNAVAILABLE"), headers={"Retry-After": "60"}),
        good(4),
    ]
    truth = [GOOD % 1, "UNREGISTERED", "UNAVAILABLE", GOOD % 4]
    for part in kinds:
        part.content_id = part.content_id if ids else None
    whole = answer(kinds).replace(b"\r\n", end)
    starts = [i for i in range(len(whole)) if whole.startswith(b"--batch_srv", i)]
    for length in range(len(whole) + 1):
        found = decode_response(TYPE, whole[:length], 4)
        for number, (known, true) in enumerate(zip(told(found), truth, strict=True)):
            assert known in {true, None}
            if ids and starts[number + 1] + len(b"--batch_srv") <= length:
                assert known == true
        assert found.responses[2].error.retry_after in {None, 60.0}
    assert told(found) == truth


@settings(max_examples=100)
@given(st.data())
def test_the_short_way_and_the_long_way_read_the_same(data):
    count = data.draw(st.integers(1, 4))
    numbers = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=5))
    body = bytearray(
        answer(
            [
                (good if data.draw(st.booleans()) else gone)(
                    n, data.draw(st.sampled_from([f"{n}", f"<b+{n}>"]))
                )
                for n in numbers
            ]
        )
    )
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"", b"\r\n", b"\n", b"--", b" ", b"+", b"0", b"\r\n--batch_srv\r\n"])
        )
    short = batch._read_orderly(bytes(body), "batch_srv", count, None)
    long = batch._read_any(bytes(body), "batch_srv", count, None)
    assert short is None or short == long


def test_an_orderly_answer_goes_the_short_way():
    body = answer([good(n, f"<b+{n}>") for n in range(1, 501)])
    assert told(batch._read_orderly(body, "batch_srv", 500, None)) == [GOOD % n for n in range(1, 501)]


def test_an_answer_in_order_and_one_out_of_order_or_of_many_servers_read_the_same():
    parts = [good(number) for number in range(1, 6)]
    expected = [GOOD % number for number in range(1, 6)]
    assert read(answer(parts), 5) == expected
    assert read(answer(parts[::-1]), 5) == expected
    assert read(answer([parts[1], parts[0], *parts[2:]]), 5) == expected
    dated = [SubAnswer(p.content_id, p.status, p.body, {"Date": p.content_id}) for p in parts]
    assert read(answer(dated), 5) == expected
    assert read(answer([gone(1), *parts[1:]]), 5) == ["UNREGISTERED", *expected[1:]]
    assert read(answer([*parts[:4], gone(5)]), 5) == [*expected[:4], "UNREGISTERED"]


def test_a_long_head_is_not_multiplied_by_the_number_of_parts():
    padded = SubAnswer("1", 200, success_body(GOOD % 1), {"X-Pad": "x" * 200_000})
    body = answer([padded, *(good(number) for number in range(2, 501))])
    tracemalloc.start()
    names = read(body, 500)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert names == [GOOD % number for number in range(1, 501)]
    assert most < 10 * len(body)


def test_a_part_in_its_place_whose_id_came_before_tells_nothing():
    parts = [good(2), good(2), good(3)]
    assert read(answer(parts), 3) == [None, None, GOOD % 3]


@given(st.binary(max_size=200), st.integers(0, 3))
@settings(max_examples=50)
def test_any_bytes_are_read_as_nothing_known(noise, expected):
    body = b"--batch_srv\r\nContent-ID: response-1\r\n\r\n" + noise
    found = decode_response(TYPE, body, expected)
    assert len(found.responses) == expected
    assert not any(response.message_id for response in found.responses)
