"""A database that lost what was acknowledged says so, and nothing is written to it until its owner decided."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.store.acknowledged import accept_loss, note_path, read_note
from actors.store.commands import app
from actors.store.database import connect_sqlite
from actors.store.migrate import copy_database
from actors.store.restored import put_in_place
from actors.store.writer import WriterCore
from perenne import names
from perenne.errors import StorageFailed, Unavailable
from perenne.messages import commands as c
from perenne.messages.backups import Cut
from tests.unit.store.store_house import StoreHouse, on_sqlite


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path / "home").people()
    yield made
    made.close()


def killed(house: StoreHouse, to: Path) -> Path:
    """What a kill leaves of the house as it is."""
    shutil.copytree(house.home, to)
    (to / "store" / "perenne.db-shm").unlink(missing_ok=True)
    return to / "store" / "perenne.db"


def opened(database: Path) -> WriterCore:
    core = WriterCore(f"sqlite:///{database}")
    core.open()
    return core


def cut_off(log: Path, size: int) -> None:
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - size)


def test_a_log_that_lost_its_last_commit_is_refused_again_and_again_until_that_is_accepted(
    house: StoreHouse, tmp_path: Path
) -> None:
    # SQLite drops all that comes after the first frame whose checksum fails, and says nothing: an acknowledged commit was gone.
    house.do(c.CreateConversation, command_id="c1", conversation_id="c1", project_id="ana-home")
    database = killed(house, tmp_path / "left")
    log = database.with_name("perenne.db-wal")
    whole = log.read_bytes()
    cut_off(log, 1)
    for _ in range(2):
        with pytest.raises(StorageFailed, match=r"lost what was acknowledged.*backup restore.*accept-loss") as refused:
            opened(database)
    (kept,) = database.parent.glob("perenne-lost-*.db-wal")
    assert kept.read_bytes() == whole[:-1]
    assert str(kept) in str(refused.value)
    before = read_note(database)
    assert before is not None
    assert accept_loss(database) is not None
    core = opened(database)
    try:
        (outcome,) = core.submit((c.CreateUser(command_id="u", user_id=c.SYSTEM_USER, new_user_id="u", name="u"),)).result(20)
        assert outcome.error is None
    finally:
        core.close()
    after = read_note(database)
    assert after is not None
    assert after.origin != before.origin, "an index could take new changes for those that it has seen"
    assert accept_loss(database) is None


def test_an_older_copy_in_the_databases_place_is_refused(house: StoreHouse, tmp_path: Path) -> None:
    older = killed(house, tmp_path / "older")
    house.do(c.CreateConversation, command_id="c1", conversation_id="c1", project_id="ana-home")
    note_path(older).write_bytes(note_path(house.path).read_bytes())
    with pytest.raises(StorageFailed, match="its last change is"):
        opened(older)


def test_a_commit_that_changed_nothing_in_the_feed_is_missed_by_its_command(house: StoreHouse, tmp_path: Path) -> None:
    older = killed(house, tmp_path / "older")
    house.send(c.RenameProject(command_id="vain", user_id="ana", project_id="no such", name="n"))
    note = read_note(house.path)
    assert note is not None
    assert note.command_id == "vain"
    note_path(older).write_bytes(note_path(house.path).read_bytes())
    with pytest.raises(StorageFailed, match="the command vain"):
        opened(older)


def test_an_empty_file_in_the_databases_place_is_refused(house: StoreHouse, tmp_path: Path) -> None:
    database = killed(house, tmp_path / "left")
    database.with_name("perenne.db-wal").unlink()
    database.write_bytes(b"")
    with pytest.raises(StorageFailed, match="there is nothing in it"):
        opened(database)
    assert accept_loss(database) is not None
    opened(database).close()


def test_a_restored_database_is_another_one(house: StoreHouse, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy_database(house.path, copy)
    house.do(c.CreateConversation, command_id="c1", conversation_id="c1", project_id="ana-home")
    house.close()
    made = Cut(kind="sqlite", file="copy.db", revision="r", origin="o", seq=1, at=0.0, counts={}, blobs=())
    put_in_place(house.url, copy, made, force=True)
    for _ in range(2):  # the second time over a note of its own
        core = opened(house.path)
        core.submit((c.CreateUser(command_id="u", user_id=c.SYSTEM_USER, new_user_id="u", name="u"),)).result(20)
        core.close()


def test_a_torn_note_says_nothing_and_a_whole_one_replaces_it(house: StoreHouse) -> None:
    house.close()
    note_path(house.path).write_bytes(note_path(house.path).read_bytes()[:-9] + b"\n")
    assert read_note(house.path) is None
    again = StoreHouse(house.home)
    again.do(c.CreateConversation, command_id="c2", conversation_id="c2", project_id="ana-home")
    again.close()
    note = read_note(house.path)
    assert note is not None
    assert note.command_id == "c2"


def test_what_was_acknowledged_last_is_not_forgotten_as_long_as_it_is_noted(house: StoreHouse, tmp_path: Path) -> None:
    house.do(c.CreateConversation, command_id="c1", conversation_id="c1", project_id="ana-home")
    house.clock.advance(names.COMMAND_ID_KEPT_S + 1)
    house.writer._purged = -1e9
    house.send()  # nothing
    house.close()
    with closing(connect_sqlite(house.path, create=False, pragmas=())) as raw:
        known = {row[0] for row in raw.execute("SELECT id FROM commands")}
    assert "c1" in known
    opened(house.path).close()


def test_the_command_says_what_is_accepted(house: StoreHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = killed(house, tmp_path / "left")
    monkeypatch.setenv("PERENNE_HOME", str(tmp_path / "left"))
    assert "nothing to accept" in CliRunner().invoke(app, ["accept-loss"]).stdout
    database = killed(house, tmp_path / "other")
    cut_off(database.with_name("perenne.db-wal"), 1)
    monkeypatch.setenv("PERENNE_HOME", str(tmp_path / "other"))
    told = CliRunner().invoke(app, ["accept-loss", "--json"])
    assert "its last change is" in json.loads(told.stdout)["accepted"]


def test_a_loss_is_not_accepted_under_a_running_writer(house: StoreHouse) -> None:
    with pytest.raises(Unavailable, match="writes to it already"):
        accept_loss(house.path)
    assert house.url == on_sqlite(house.home)
