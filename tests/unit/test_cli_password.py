"""How the command comes by a file's password."""

import io

import pytest

from perenne.cli.password import password_of
from perenne.errors import InvalidRequest


def test_a_password_is_read_from_standard_input_without_its_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("open sesame \r\nmore"))
    assert password_of(False, True) == "open sesame "
    assert password_of(False, False) is None


def test_no_password_where_one_was_promised_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(InvalidRequest, match="standard input"):
        password_of(False, True)


def test_a_password_is_no_argument() -> None:
    # It was: `ps` and the shell's history showed it.
    import typer.testing

    from perenne.cli import build

    shown = typer.testing.CliRunner().invoke(build(), ["add", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert "--password-stdin" in shown
    assert "--password TEXT" not in " ".join(shown.split())
