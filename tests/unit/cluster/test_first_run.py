"""A new home whose backups are not new: what `perenne up` offers, asks and does before it starts."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from actors.backups.repository import Cut, Repository
from actors.store.restored import holds_rows
from cluster import commands, first_run
from cluster.before_migration import keep
from cluster.first_run import begin_from, is_new, offered
from perenne.cli.troubles import Exit
from perenne.errors import BackupDamaged, Conflict, Unavailable
from perenne.messages import commands as c
from perenne.settings import Settings, load_settings
from tests.unit.store.store_house import StoreHouse


def settings_of(home: Path, target: Path) -> Settings:
    return load_settings({"PERENNE_HOME": str(home), "PERENNE_BACKUP_TARGET": str(target)})


@pytest.fixture
def lost(tmp_path: Path) -> Settings:
    """A home that was backed up and then lost: an empty one, and where its backup is."""
    house = StoreHouse(tmp_path / "old").people()
    house.close()
    (tmp_path / "old" / "key").write_text("pk_one\n")
    keep(settings_of(tmp_path / "old", tmp_path / "target"), "one", "two")
    return settings_of(tmp_path / "new", tmp_path / "target")


def nobody(question: str) -> str:
    raise AssertionError(f"asked: {question}")


def newest(settings: Settings) -> str:
    with Repository.open(settings.backups_target) as repository:
        return repository.list()[0].id


def test_who_sits_at_the_terminal_is_shown_what_there_is_and_asked(lost: Settings) -> None:
    told: list[str] = []
    asked: list[str] = []

    def answer(word: str) -> str | None:
        return offered(lost, lambda question: (asked.append(question), word)[1], told.append)

    for no in ("\n", "", "n\n", "what?\n"):
        assert answer(no) is None
    assert answer("y\n") == newest(lost)
    assert all(question == f"Begin from the newest, {newest(lost)}? [y/N] " for question in asked)
    assert any(newest(lost) in words for words in told)
    assert not Path(lost.home, "store").exists(), "nothing is restored by an answer alone"


def test_where_nobody_sits_one_sentence_says_what_to_type(lost: Settings) -> None:
    told: list[str] = []
    assert offered(lost, None, told.append) is None
    assert len(told) == 1
    assert f"perenne backup restore {newest(lost)}" in told[0]


def test_a_home_that_holds_something_is_never_asked(lost: Settings, tmp_path: Path) -> None:
    assert is_new(lost)
    assert offered(settings_of(tmp_path / "old", tmp_path / "target"), nobody, nobody) is None
    Path(lost.home).mkdir()
    Path(lost.home, "key").write_text("pk_mine\n")
    assert offered(lost, nobody, nobody) is None


def test_without_a_backup_nothing_is_said(tmp_path: Path) -> None:
    assert offered(settings_of(tmp_path / "new", tmp_path / "target"), nobody, nobody) is None
    assert not (tmp_path / "target").exists()
    assert not (tmp_path / "new").exists()
    assert offered(load_settings({"PERENNE_HOME": str(tmp_path / "new")}), nobody, nobody) is None
    Repository.open(str(tmp_path / "target"), create=True).close()
    assert offered(settings_of(tmp_path / "new", tmp_path / "target"), nobody, nobody) is None


def test_a_target_that_cannot_be_read_or_does_not_answer_keeps_no_home_from_starting(
    lost: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    other = lost.model_copy(update={"backups": lost.backups.model_copy(update={"target": str(tmp_path / "a-file")})})
    (tmp_path / "a-file").write_text("no folder")
    assert offered(other, nobody, told.append) is None
    assert "can't be seen" in told.pop()
    with Repository.open(str(tmp_path / "sealed"), "four words", create=True) as repository, repository.begin() as writer:
        writer.commit(Cut(kind="manual"))
    sealed = lost.model_copy(update={"backups": lost.backups.model_copy(update={"target": str(tmp_path / "sealed")})})
    assert offered(sealed, nobody, told.append) is None
    assert "passphrase" in told.pop()
    ended = threading.Event()
    monkeypatch.setattr(Repository, "list", lambda _: ended.wait(60.0) and [])
    with pytest.raises(Unavailable, match="did not answer within"):
        first_run.backups_of(lost, within_s=0.1)
    ended.set()


def test_a_new_home_begins_from_a_backup_and_one_with_documents_does_not(lost: Settings, tmp_path: Path) -> None:
    begin_from(lost, None, lambda _: None)
    assert Path(lost.home, "key").read_text() == "pk_one\n"
    house = StoreHouse(Path(lost.home))
    assert [row[0] for row in house.rows("SELECT id FROM users ORDER BY id")] == ["ana", "bob"]
    house.close()
    with pytest.raises(Conflict, match="--force"):
        begin_from(lost, None, lambda _: None)


def test_what_a_first_start_puts_in_a_home_is_no_data(tmp_path: Path) -> None:
    house = StoreHouse(tmp_path)
    assert not holds_rows(house.url)
    house.system(c.CreateUser, new_user_id="owner", name="owner")
    house.do(c.CreateKey, "owner", key_id="k", for_user_id="owner", key_hash="a" * 64, label="first", scopes=("read",))
    house.do(c.CreateProject, "owner", project_id="p", name="default")
    assert not holds_rows(house.url)
    house.do(c.CreateProject, "owner", project_id="q", name="mine")
    assert holds_rows(house.url)
    house.close()


def test_a_restore_that_fails_leaves_the_new_home_as_it_was(lost: Settings) -> None:
    for piece in Path(lost.backups_target).glob("pieces/*/*"):
        piece.write_bytes(piece.read_bytes()[:-1] + b"?")
    with pytest.raises(BackupDamaged):
        begin_from(lost, None, lambda _: None)
    assert not Path(lost.home, "store").exists()
    assert not Path(lost.home, "key").exists()
    assert not Path(lost.home, "restoring").exists()


# perenne up


@pytest.fixture
def up(lost: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    monkeypatch.setenv("PERENNE_HOME", lost.home)
    monkeypatch.setenv("PERENNE_BACKUP_TARGET", lost.backups_target)
    monkeypatch.setattr(commands.examination, "examine", lambda *_: [])
    monkeypatch.setattr(commands, "_detached", lambda settings: 77)  # it would start here
    held = os.umask(0o077)
    yield CliRunner()
    os.umask(held)


def typed(up: CliRunner, *words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(commands.up)
    ended = up.invoke(app, ["--detach", *words])
    return ended.exit_code, ended.output


def test_up_restores_when_told_to_and_then_starts(up: CliRunner, lost: Settings) -> None:
    code, words = typed(up)
    assert code == 77
    assert f"perenne backup restore {newest(lost)}" in words
    assert not Path(lost.home, "store").exists()
    assert typed(up, newest(lost))[0] == Exit.REFUSED
    code, words = typed(up, "--restore", "20261126T083000123Z-0a1b2c3d")
    assert code == Exit.NOT_FOUND, words
    code, words = typed(up, "--restore", newest(lost))
    assert code == 77, words
    assert Path(lost.home, "store", "perenne.db").exists()
    code, words = typed(up)
    assert (code, "backup" in words) == (77, False)
    code, words = typed(up, "--restore")
    assert code == Exit.REFUSED
    assert "holds documents already" in words


def test_up_begins_from_a_backup_when_its_owner_says_so(up: CliRunner, lost: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "asker", lambda: lambda _: "n\n")
    assert typed(up)[0] == 77
    assert not Path(lost.home, "store").exists()
    monkeypatch.setattr(commands, "asker", lambda: lambda _: "y\n")
    assert typed(up)[0] == 77
    assert Path(lost.home, "store", "perenne.db").exists()


def test_a_detached_root_asks_nobody_a_second_time(up: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNE_DETACHED", "1")
    monkeypatch.setattr(commands, "offered", nobody)
    assert typed(up)[0] == 77
