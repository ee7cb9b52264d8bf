from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.errors import MultipartError
from dispatcher.protocol import multipart
from dispatcher.protocol.multipart import boundary_of, read, write

TOKEN = st.text("abcXYZ09-", min_size=1, max_size=8)
HEADERS = st.dictionaries(
    TOKEN.map(str.lower), st.text("abc <>+=;/-", max_size=12).map(str.strip), max_size=3
)
BOUNDARY = st.text("0123456789abcXYZ'()+_,-./:=?", min_size=1, max_size=70)
PIECE = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"--",
        b"--b",
        b"--b--",
        b"\r\n--bx",
        b"-",
        b"\r",
        b" ",
        b"{}",
        b"\xff",
        b"Content-ID: 1",
    ]
)
BODY = st.lists(PIECE, max_size=8).map(b"".join)


def body_of(parts):
    return [(part.headers, part.body) for part in parts]


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ("multipart/mixed; boundary=batch_7c1f", "batch_7c1f"),
        (
            'multipart/mixed; boundary="===============5984822146290072262=="',
            "===============5984822146290072262==",
        ),
        ("Multipart/Mixed;BOUNDARY=b", "b"),
        ('multipart/mixed; charset="a; boundary=no"; boundary=yes', "yes"),
        ("multipart/mixed ; boundary = b ", "b"),
        ('multipart/related; boundary="a\\"b"', 'a"b'),
        ("multipart/mixed; boundary=__END_OF_PART__; type=x", "__END_OF_PART__"),
        ("multipart/mixed", None),
        ("multipart/mixed; boundary=", None),
        ('multipart/mixed; boundary=""', None),
        ("application/json; boundary=b", None),
        ("text/html", None),
        ("", None),
        (None, None),
    ],
)
def test_the_boundary_is_read_from_the_content_type(header, boundary):
    assert boundary_of(header) == boundary


@given(BOUNDARY)
def test_a_content_type_names_its_boundary(boundary):
    assert boundary_of(multipart.content_type(boundary)) == boundary


@pytest.mark.parametrize("boundary", ["", "a" * 71, "a b", "é", 'a"b', "a\n"])
def test_a_boundary_outside_the_grammar_is_refused(boundary):
    with pytest.raises(MultipartError):
        multipart.content_type(boundary)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(HEADERS, st.binary(max_size=40).filter(lambda b: b"--" not in b)), min_size=1, max_size=4
    ),
    BOUNDARY,
)
def test_what_is_written_is_read_back(parts, boundary):
    found = read(write(parts, boundary), boundary)
    assert body_of(found.parts) == parts
    assert found.closed
    assert all(part.headed and part.ended for part in found.parts)


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("closing", [b"--b--", b"--b-- \t", b"--b--\r\nepilogue\r\n--b\r\n\r\nnot a part"])
def test_both_line_ends_and_anything_around_the_parts_are_accepted(end, closing):
    body = end.join([b"preamble --b", b"--b  ", b"A: 1", b"", b"one", b"", b"--b", b"", b"two", closing])
    found = read(body, "b")
    assert body_of(found.parts) == [({"a": "1"}, b"one" + end), ({}, b"two")]
    assert found.closed


def test_only_whole_delimiter_lines_count():
    body = b"--b\r\n\r\nx --b\r\n--bb\r\n--b--b\r\n --b\r\n-- b\r\n--b\r\n\r\nlast\r\n--b--\r\n"
    assert [part.body for part in read(body, "b").parts] == [
        b"x --b\r\n--bb\r\n--b--b\r\n --b\r\n-- b",
        b"last",
    ]


def test_headers_are_unfolded_lowered_and_joined():
    part = read(b"--b\r\nContent-ID: <abc\r\n  + 1>\r\nX: 1\r\nx:2\r\nno colon\r\n\r\n\r\n--b--", "b").parts[
        0
    ]
    assert part.headers == {"content-id": "<abc + 1>", "x": "1, 2"}


def test_a_missing_closing_delimiter_is_told():
    found = read(b"--b\r\nA: 1\r\n\r\none\r\n--b\r\n\r\ntwo\r\n", "b")
    assert not found.closed
    assert [(part.body, part.ended) for part in found.parts] == [(b"one", True), (b"two", False)]


def test_a_delimiter_that_broke_off_is_no_part_of_the_last_body():
    whole = b"--b1\r\n\r\n{}\r\n--b1--"
    for length in range(len(b"--b1\r\n\r\n{}"), len(whole)):
        assert [part.body.rstrip(b"\r") for part in read(whole[:length], "b1").parts] == [b"{}"]


def test_a_part_without_blank_line_is_marked():
    parts = read(b"--b\r\nA: 1\r\n--b\r\n--b\r\nContent-ID: 1", "b").parts
    assert [(part.headed, part.ended) for part in parts] == [(False, True), (False, True), (False, False)]


def test_a_body_without_a_delimiter_line_is_refused():
    with pytest.raises(MultipartError, match="no line --b"):
        read(b"<html>--b</html>", "b")


@settings(max_examples=150)
@given(BODY, BODY)
@example(b"--b", b"\r")
def test_any_body_is_read_or_refused(first, second):
    body = b"--b\r\n" + first + b"\r\n--b\r\n" + second
    for text in (body, first, second):
        try:
            found = read(text, "b")
        except MultipartError:
            continue
        assert all(part.ended for part in found.parts[:-1])
        assert b"\n--b\n" not in b"".join(part.body for part in found.parts if part.headed)


def test_a_body_cut_at_any_byte_never_changes_the_parts_before_the_cut():
    parts = [({"content-id": str(n)}, b'{"n":%d}' % n) for n in range(3)]
    whole = write(parts, "batch_x")
    for length in range(len(whole)):
        try:
            found = read(whole[:length], "batch_x").parts
        except MultipartError:
            assert length < len("--batch_x")
            continue
        ended = [part for part in found if part.ended]
        assert body_of(ended) == parts[: len(ended)]
        assert len(found) - len(ended) <= 1
