"""Before a migration there is a verified backup, or a copy and a word to the owner."""

import shutil
import time
from pathlib import Path

import pytest

from actors.backups.before import EPOCH, KIND, TO
from actors.backups.repository import Repository
from actors.store import guarding
from actors.store.database import sqlite_path, writing_engine
from actors.store.guarding import Guard, Tell, make_apart
from actors.store.migrate import held_revision, migrate, migrate_back, wanted_revision
from cluster.before_migration import keep
from cluster.restoring import restore
from perenne.errors import StorageFailed, Unavailable
from perenne.schedules import BEFORE, read_schedule
from perenne.settings import Settings, load_settings
from tests.unit.store.store_house import StoreHouse
from tests.unit.store.test_store_migrations import BLOB, REVISIONS, Rows, assert_same, house, made_at, rows_of, store_house

__all__ = ["house"]  # a fixture


@pytest.fixture
def settings(house: StoreHouse, tmp_path: Path) -> Settings:
    target = tmp_path / "backups-elsewhere"
    place = house.home / "blobs" / BLOB[:2] / BLOB[2:]
    place.parent.mkdir(parents=True)
    place.write_bytes(b"the file")
    return load_settings(
        {"PERENNE_HOME": str(house.home), "PERENNE_DATABASE_URL": house.url, "PERENNE_BACKUP_TARGET": str(target)}
    )


def at_hand(settings: Settings, held: str, wanted: str, tell: Tell) -> str:
    return keep(settings, held, wanted).id


def go_back_to(revision: str, house: StoreHouse) -> None:
    engine = writing_engine(house.url)
    while migrate_back(engine, sqlite_path(house.url))[0] != revision:
        pass
    for copy in house.path.parent.glob("*before*"):
        copy.unlink()


def copies(house: StoreHouse) -> list[str]:
    return [path.name for path in house.path.parent.glob("*before*")]


def bring_back(settings: Settings, backup_id: str) -> None:
    restore(settings, settings.backups_target, None, backup_id, force=True, tell=lambda _: None)


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_database_of_each_earlier_version_is_backed_up_before_it_is_migrated_and_can_be_brought_back(
    house: StoreHouse, tmp_path: Path, revision: str
) -> None:
    other = tmp_path / "other"
    (other / "store").mkdir(parents=True)
    url = store_house.empty_database(other)
    made_at(revision, url, rows_of(house.url))
    before = rows_of(url)
    settings = load_settings({"PERENNE_HOME": str(other), "PERENNE_DATABASE_URL": url})
    assert migrate(writing_engine(url), sqlite_path(url), guard=Guard(settings, at_hand)) is None, "no copy beside it"
    assert held_revision(writing_engine(url)) == wanted_revision()
    with Repository.open(settings.backups_target) as repository:
        (backup,) = repository.list()
        assert repository.verify(backup.id).ok
    assert (backup.cut.kind, backup.cut.revision, backup.cut.notes[TO]) == (KIND, revision, wanted_revision())
    schedule = read_schedule(other, BEFORE)
    assert schedule is not None
    assert schedule.last == schedule.good
    assert schedule.last is not None
    assert (schedule.last.ok, schedule.last.backup_id) == (True, backup.id)
    if url.startswith("sqlite"):
        bring_back(settings, backup.id)
        assert held_revision(writing_engine(url)) == revision
        assert without_origin(rows_of(url)) == without_origin(before)


def without_origin(rows: Rows) -> Rows:
    return {**rows, "meta": [row for row in rows["meta"] if row["name"] != "origin"]}


def test_it_is_made_by_a_process_of_its_own_and_whoever_waits_is_told(house: StoreHouse, settings: Settings) -> None:
    go_back_to(REVISIONS[-2], house)
    sealed = settings.backups.model_copy(update={"passphrase": "four words of mine"})
    settings = settings.model_copy(update={"backups": sealed})
    before, told = rows_of(house.url), list[str]()
    migrate(writing_engine(house.url), sqlite_path(house.url), guard=Guard(settings, make_apart), tell=told.append)
    assert told[0] == f"a backup before the database is brought from version {REVISIONS[-2]} to {wanted_revision()}"
    assert_same(rows_of(house.url), before)
    with Repository.open(settings.backups_target, "four words of mine") as repository:
        (backup,) = repository.list()
        assert repository.encrypted
    assert (backup.cut.kind, backup.cut.notes["missing"]) == (KIND, "1")  # that of the lines
    assert not settings.path(*guarding.SCRATCH).exists()
    assert copies(house) == []


def test_a_migration_that_is_begun_again_makes_no_second_backup_of_the_same_rows(house: StoreHouse, settings: Settings) -> None:
    go_back_to(REVISIONS[-2], house)
    first = keep(settings, REVISIONS[-2], wanted_revision())
    assert keep(settings, REVISIONS[-2], wanted_revision()).id == first.id
    for piece in Path(settings.backups_target).glob("pieces/*/*"):
        piece.write_bytes(piece.read_bytes()[:-1] + b"?")
    again = keep(settings, REVISIONS[-2], wanted_revision())  # that one is worth nothing any more
    assert again.id != first.id
    with Repository.open(settings.backups_target) as repository:
        assert repository.verify(again.id).ok
    running = StoreHouse(house.home, url=house.url)  # writes, and so raises the epoch
    running.close()
    assert keep(settings, wanted_revision(), "later").id != again.id


def test_where_the_target_is_away_a_copy_takes_its_place_and_the_owner_is_told(house: StoreHouse, settings: Settings) -> None:
    go_back_to(REVISIONS[-2], house)
    before = rows_of(house.url)
    Path(settings.backups_target).write_text("no folder")  # where the other disk should be
    copy = migrate(
        writing_engine(house.url), sqlite_path(house.url), dumps=house.path.parent, guard=Guard(settings, make_apart)
    )
    assert copy is not None
    assert copies(house) == [copy.name]
    assert held_revision(writing_engine(house.url)) == wanted_revision()
    assert_same(rows_of(house.url), before)
    schedule = read_schedule(house.home, BEFORE)
    assert schedule is not None
    assert schedule.last is not None
    assert (schedule.last.ok, schedule.good) == (False, None)
    words = f"no backup could be made before the database is brought from version {REVISIONS[-2]} to {wanted_revision()}: "
    assert schedule.last.detail.startswith(words)
    assert schedule.last.detail.endswith(f"; a copy is {copy}")


def test_without_room_for_either_the_database_is_left_as_it_is(
    house: StoreHouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not house.path.exists():
        pytest.skip("PostgreSQL has no copy beside it that must be there")
    go_back_to(REVISIONS[-2], house)
    before = rows_of(house.url)

    def full(*_: object) -> str:
        raise StorageFailed("no room")

    def full_too(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("actors.store.migrate.copy_database", full_too)
    with pytest.raises(StorageFailed, match="left as it is"):
        migrate(writing_engine(house.url), house.path, guard=Guard(settings, full))
    assert held_revision(writing_engine(house.url)) == REVISIONS[-2]
    assert rows_of(house.url) == before


def test_a_start_with_nothing_to_migrate_looks_for_no_backup(house: StoreHouse, settings: Settings) -> None:
    def never(*_: object) -> str:
        raise AssertionError("it was asked for a backup")

    assert migrate(writing_engine(house.url), sqlite_path(house.url), guard=Guard(settings, never)) is None
    assert read_schedule(house.home, BEFORE) is None


def test_a_process_that_dies_or_hangs_is_no_backup(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(guarding, "BEFORE_MIGRATION", "no.such.module")
    with pytest.raises(Unavailable, match="its process ended with 1"):
        make_apart(settings, "a", "b", lambda _: None)
    (tmp_path / "hanging").mkdir()
    (tmp_path / "hanging" / "hangs_for_ever.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hanging"))
    monkeypatch.setattr(guarding, "BEFORE_MIGRATION", "hangs_for_ever")
    monkeypatch.setattr(guarding, "STILL_S", 0.2)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="nothing of it moved"):
        make_apart(settings, "a", "b", lambda _: None)
    assert time.monotonic() - began < 60, "it was ended and not waited for"


def test_going_back_makes_one_too(house: StoreHouse, settings: Settings) -> None:
    before = rows_of(house.url)
    held, copy = migrate_back(writing_engine(house.url), sqlite_path(house.url), guard=Guard(settings, at_hand))
    assert (held, copy) == (REVISIONS[-2], None)
    with Repository.open(settings.backups_target) as repository:
        (backup,) = repository.list()
    assert (backup.cut.revision, backup.cut.notes[TO]) == (wanted_revision(), REVISIONS[-2])
    assert int(backup.cut.notes[EPOCH]) >= 1
    shutil.rmtree(settings.path("scratch"), ignore_errors=True)
    if house.path.exists():
        bring_back(settings, backup.id)
        assert without_origin(rows_of(house.url)) == without_origin(before)
