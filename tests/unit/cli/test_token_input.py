"""Files of tokens as options name them: how they are read, and what is said of bad rows."""

import gzip
import io
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from dispatcher.cli.token_input import SHOWN, FileOptions, StopError, TokenInput, file_options
from dispatcher.errors import SettingsError


@pytest.fixture
def opened(tmp_path):
    with ExitStack() as stack:

        def write_and_open(content, name="users.txt", **options):
            file = tmp_path / name
            file.write_bytes(content)
            return stack.enter_context(closing(TokenInput(file, FileOptions(**options))))

        yield write_and_open


def tokens(source, most=1000):
    return [[token.decode() for token in piece.tokens] for piece in source.pieces(most)]


def test_options_say_how_a_file_is_read():
    assert file_options() == FileOptions()
    assert file_options(form="csv", column="fcm", bad_rows="stop", from_line=7) == FileOptions(
        form="csv", column="fcm", bad_rows="stop", from_line=7
    )


def test_tokens_come_in_pieces_and_what_was_read_is_counted(opened, tmp_path):
    source = opened(b"a\nb\nc\n")
    assert (source.name, source.size, source.read) == (str(tmp_path / "users.txt"), 6, 0)
    assert tokens(source, 2) == [["a", "b"], ["c"]]
    assert source.read == 6
    assert not source.forgetful


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("users.csv", b"id,token\n1,a\n2,b\n", {}),
        ("users.csv.gz", gzip.compress(b"id,token\n1,a\n2,b\n", mtime=0), {}),
        ("users", b"id,key\n1,a\n2,b\n", {"form": "csv", "column": "key"}),
        ("users.txt", b"before\na\nb\n", {"from_line": 2}),
    ],
)
def test_a_file_is_read_by_its_name_and_as_the_options_say(opened, name, content, options):
    assert tokens(opened(content, name, **options)) == [["a", "b"]]


def test_bad_rows_are_told_with_their_line_and_counted_by_what_is_wrong(opened, capsys):
    source = opened(b"a\n\nno token\nb\na\n")
    assert tokens(source) == [["a", "b"]]
    assert source.skipped == {"blank": 1, "no token": 1, "repeated": 1}
    told = capsys.readouterr().err.splitlines()
    assert sorted(line.removeprefix(source.name).split(":")[1] for line in told) == ["2", "3", "5"]
    assert all(line.endswith("; skipped") for line in told)


def test_of_many_bad_rows_only_the_first_are_told(opened):
    source = opened(b"a\n" + b"\n" * (SHOWN + 5))
    told = []
    source.say = told.append
    assert tokens(source) == [["a"]]
    assert len(told) == SHOWN
    assert source.hidden == 5


def test_a_bad_row_ends_the_run_if_it_is_to(opened):
    source = opened(b"a\nb\n\nc\n", bad_rows="stop")
    with pytest.raises(StopError, match="line 3: blank"):
        tokens(source)
    assert source.skipped == {}


def test_standard_input_has_no_size_and_stays_open(monkeypatch):
    stdin = io.BytesIO(b"a\nb\n")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stdin))
    source = TokenInput(Path("-"), FileOptions())
    assert (source.name, source.size) == ("standard input", 0)
    assert tokens(source) == [["a", "b"]]
    source.close()
    assert not stdin.closed


def test_what_cannot_be_opened_is_told_by_the_option_that_names_it():
    with pytest.raises(SettingsError, match=r"--apns-tokens /nowhere: cannot be read \(No such file"):
        TokenInput(Path("/nowhere"), FileOptions(), "--apns-tokens")
