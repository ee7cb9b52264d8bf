"""Secrets in files of their own."""

from pathlib import Path

import pytest

from dispatcher.errors import CredentialsError
from dispatcher.transport.secret_file import MOST_BYTES, SecretFile


def test_the_white_space_around_it_is_not_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("  word\r\n")
    assert SecretFile(tmp_path / "t").value == "word"


def test_it_says_whether_it_has_changed(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("one")
    secret = SecretFile(tmp_path / "t")
    assert not secret.reread()
    (tmp_path / "t").write_text("two")
    assert secret.reread()
    assert secret.value == "two"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"two words", b"a\r\nX-Header: b", b"caf\xe9", b"\x00", b"x" * (MOST_BYTES + 1)]
)
def test_what_is_no_word_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(CredentialsError, match="must hold one token or key and nothing else") as caught:
        SecretFile(tmp_path / "t")
    assert "words" not in str(caught.value)


def test_it_shows_itself_nowhere(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("word")
    secret = SecretFile(tmp_path / "t")
    assert "word" not in f"{secret!r} {secret}"


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="cannot be read"):
        SecretFile(tmp_path / "missing")
