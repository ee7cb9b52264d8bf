"""Tokens come out of files as people write them, and each bad row is told with its line."""

import gzip
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dispatcher.client import token_file
from dispatcher.client.token_file import Piece, TokenFile, TokenFileError, cut, form_of

BLANK = "blank"
AGAIN = "the same token as in an earlier line"


class Reading:
    """What came out of a file: tokens with their lines, and bad rows."""

    def __init__(self, content, form="txt", **options):
        self.bad = []
        self.tokens = []
        rows = TokenFile(io.BytesIO(content), form, lambda line, why: self.bad.append((line, why)), **options)
        self.error = ""
        try:
            for tokens, lines in rows:
                self.tokens += zip(tokens, lines, strict=True)
        except TokenFileError as error:
            self.error = str(error)


@pytest.fixture(params=[1 << 20, 7], ids=["one block", "tiny blocks"])
def _blocks(request, monkeypatch):
    monkeypatch.setattr(token_file, "BLOCK", request.param)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    "content",
    [
        b"aa\nbb\ncc",
        b"aa\nbb\ncc\n",
        b"aa\r\nbb\r\ncc\r\n",
        b"\xef\xbb\xbfaa\nbb\ncc\n",
        b"  aa \nbb\t\ncc\n",
        gzip.compress(b"aa\nbb\ncc\n", mtime=0),
        gzip.compress(b"aa\nb", mtime=0) + gzip.compress(b"b\ncc\n", mtime=0),
        gzip.compress(b"aa\nbb\ncc\n", mtime=0) + b"\0\0\0",
    ],
    ids=["no last line end", "plain", "CRLF", "BOM", "white space", "gzip", "two members", "padded gzip"],
)
def test_one_token_a_line_however_it_is_written(content):
    reading = Reading(content)
    assert reading.tokens == [(b"aa", 1), (b"bb", 2), (b"cc", 3)]
    assert reading.bad == []
    assert reading.error == ""


@pytest.mark.usefixtures("_blocks")
def test_bad_rows_are_told_with_their_lines_and_the_rest_is_read():
    content = b"aa\n\nbb\naa\nc c\n\xe4\xf6\n" + b"x" * 5000 + b"\ndd\n"
    reading = Reading(content)
    assert reading.tokens == [(b"aa", 1), (b"bb", 3), (b"dd", 8)]
    assert dict(reading.bad) == {
        2: BLANK,
        4: AGAIN,
        5: "no token: found ' ' in 'c c'",
        6: "no token: byte 0xe4; the file may be in another encoding than UTF-8",
        7: "no token: 5000 bytes",
    }


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_an_empty_file_has_no_tokens(content):
    for form in ("txt", "csv", "jsonl"):
        reading = Reading(content, form)
        assert (reading.tokens, reading.error) == ([], "")


def test_a_file_of_another_encoding_is_not_read():
    assert "UTF-16" in Reading("aa\nbb\n".encode("utf-16")).error
    assert "UTF-16" in Reading("aa\nbb\n".encode("utf-16-le")).error


@pytest.mark.parametrize("cut_at", [20, -9, -4])
def test_a_gzip_that_is_cut_off_gives_whole_lines_only_and_says_where(cut_at):
    lines = [b"%030x" % (n * 0x9E3779B97F4A7C15F39CC0605CEDC835) for n in range(2000)]
    whole = gzip.compress(b"\n".join(lines))
    reading = Reading(whole[:cut_at])
    assert "the gzip file is cut off" in reading.error
    assert reading.error.startswith(f"after line {len(reading.tokens)}:")
    assert [token for token, _ in reading.tokens] == lines[: len(reading.tokens)]


def test_a_damaged_gzip_is_told():
    whole = bytearray(gzip.compress(b"".join(b"%d\n" % n for n in range(50_000))))
    whole[len(whole) // 2] ^= 0xFF
    assert "cut off or damaged" in Reading(bytes(whole)).error


def test_rows_before_the_wanted_line_are_passed_over_in_silence():
    reading = Reading(b"\naa\nbb\n\ncc\n", from_line=4)
    assert reading.tokens == [(b"cc", 5)]
    assert reading.bad == [(4, BLANK)]


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    "content",
    [
        b"user,token\n1,aa\n2,bb\n",
        b"token;user\r\naa;1\r\nbb;2\r\n",
        b"\xef\xbb\xbfid\tFCM_Token\n1\taa\n2\tbb\n",
        b'user,"token"\n"x, y","aa"\n2,bb\n',
    ],
)
def test_a_csv_column_is_found_by_its_name(content):
    reading = Reading(content, "csv")
    assert reading.tokens == [(b"aa", 2), (b"bb", 3)]
    assert (reading.bad, reading.error) == ([], "")


def test_a_csv_column_can_be_named():
    reading = Reading(b"token,push\nx,aa\ny,bb\n", "csv", column="push")
    assert reading.tokens == [(b"aa", 2), (b"bb", 3)]
    assert (
        Reading(b"a,b\n1,2\n", "csv", column="c").error
        == "line 1: no column c among: a, b; name it with --column"
    )
    assert "no column token among: a, b" in Reading(b"a,b\n1,2\n", "csv").error


def test_a_csv_of_one_column_needs_no_header():
    assert Reading(b"aa\nbb\n", "csv").tokens == [(b"aa", 1), (b"bb", 2)]


def test_csv_rows_that_hold_no_token_are_told_with_their_lines():
    reading = Reading(b'token,note\naa,"two\nlines"\n\n,x\nbb,\n"c\nc",y\naa,z\n', "csv")
    assert [token for token, _ in reading.tokens] == [b"aa", b"bb"]
    assert [why for _, why in sorted(reading.bad)] == [BLANK, BLANK, "no token: found ' ' in 'c c'", AGAIN]
    assert [line for line, _ in sorted(reading.bad)] == [4, 5, 8, 9]


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    "content", [b'"aa"\n"bb"\n', b'{"token":"aa","user":1}\n{"user":{"x":[1]},"token":"bb"}\n']
)
def test_json_lines_hold_strings_or_objects(content):
    assert Reading(content, "jsonl").tokens == [(b"aa", 1), (b"bb", 2)]


def test_a_json_member_can_be_named():
    assert Reading(b'{"push":"aa","token":1}\n', "jsonl", column="push").tokens == [(b"aa", 1)]


def test_json_lines_that_hold_no_token_are_told_with_their_lines():
    content = (
        b'{"token":"aa"}\n\n{"user":1}\n{"token":\n"bb","cc"\n{"token":5}\n{"token":"d d"}\n{"token":"ee"}'
    )
    reading = Reading(content, "jsonl")
    assert reading.tokens == [(b"aa", 1), (b"ee", 8)]
    found = dict(reading.bad)
    assert sorted(found) == [2, 3, 4, 5, 6, 7]
    assert found[2] == BLANK
    assert found[5] == "more than one value"
    assert found[3].startswith('neither a JSON string nor an object with "token"')
    assert found[7].startswith("no token")


def test_a_reader_may_stop_at_a_bad_row():
    class StopError(Exception):
        pass

    def stop(line, why):
        raise StopError(f"{line}: {why}")

    with pytest.raises(StopError, match="2: blank"):
        list(TokenFile(io.BytesIO(b"aa\n\nbb\n"), "txt", stop))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.txt", "txt"), ("a", "txt"), ("a.gz", "txt"), ("A.CSV", "csv"), ("a.csv.gz", "csv"), ("a.tsv", "csv"),
        ("a.jsonl.gz", "jsonl"), ("a.ndjson", "jsonl"),
    ],
)  # fmt: skip
def test_the_name_says_how_a_file_is_written(name, form):
    assert form_of(name) == form


@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 9))
def test_pieces_hold_every_token_once_and_know_their_lines(sizes, most):
    rows, line = [], 0
    for size in sizes:
        if size:
            rows.append(([b"%d" % n for n in range(line, line + size)], range(line, line + size)))
            line += size
    pieces = list(cut(rows, most))
    assert [token for piece in pieces for token in piece.tokens] == [b"%d" % n for n in range(line)]
    assert all(len(piece.tokens) == most for piece in pieces[:-1])
    for piece in pieces:
        assert (int(piece.tokens[0]), int(piece.tokens[-1])) == (piece.first_line, piece.last_line)


def test_what_came_before_an_error_is_cut_first():
    def rows():
        yield [b"a", b"b", b"c"], [1, 2, 4]
        raise TokenFileError("no more")

    pieces = cut(rows(), 2)
    assert [next(pieces), next(pieces)] == [Piece([b"a", b"b"], 1, 2), Piece([b"c"], 4, 4)]
    with pytest.raises(TokenFileError):
        next(pieces)


def test_a_first_cell_of_several_lines_is_one_bad_row():
    reading = Reading(b'"a\nb"\ncc\n', "csv")
    assert reading.tokens == [(b"cc", 3)]
    assert reading.bad == [(2, "no token: found ' ' in 'a b'")]


@given(st.binary(max_size=400), st.sampled_from(["txt", "csv", "jsonl"]))
@example(content=b'"', form="csv")
def test_whatever_the_bytes_are_it_ends_in_tokens_bad_rows_or_one_sentence(content, form):
    reading = Reading(content, form)
    assert all(token_file.fault_of(token) == "" for token, _ in reading.tokens)
