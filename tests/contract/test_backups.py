"""A small house, on both databases: its store, its files and the keeper of backups, and homes brought back from what that wrote."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.backups.keeper import Keeper
from actors.backups.repository import Repository
from actors.backups.rounds import Rounds
from actors.backups.writer import Writer
from actors.blobs.actor import BlobStore
from actors.store.actor import StoreReader, StoreWriter
from cluster.restoring import restore
from cluster.unfinished import finish
from perenne import names
from perenne.errors import BackupDamaged, Conflict, NotFound, WrongPassphrase
from perenne.ids import new_id
from perenne.messages import commands as c
from perenne.messages.backups import ScheduleResult
from perenne.schedules import read_schedule, write_schedule
from perenne.settings import Settings, load_settings
from perenne.store import Store
from perenne.testing import FakeDirectory, eventually
from tests.postgresql import OWNER

SPACE = "space"
OLD_S = 3 * 86_400.0
on_one = pytest.mark.parametrize("database_of", ["sqlite"], indirect=True)  # what hangs on no database


class House:
    """A home with its owners of state; `close` and `open` as a stop and a start."""

    def __init__(self, home: Path, database_url: str, target: Path, **settings: Any) -> None:
        held = load_settings({"PERENNE_HOME": str(home), "PERENNE_DATABASE_URL": database_url})
        backups = held.backups.model_copy(update={"target": str(target), "schedule": "", "drill": ""} | settings)
        self.settings: Settings = held.model_copy(update={"backups": backups})
        self.open()

    def open(self) -> None:
        self.directory = FakeDirectory()
        self.writer = StoreWriter(names.STORE_WRITER, self.settings, self.directory)
        self.reader = StoreReader(names.store_reader(0), self.settings, self.directory)
        self.blobs = BlobStore(names.blob_store(self.settings.pc), self.settings, self.directory)
        for name, owner in (
            (names.STORE_WRITER, self.writer),
            (names.store_reader(0), self.reader),
            (names.blob_store(self.settings.pc), self.blobs),
        ):
            self.directory.put(name, owner)
        self.store = Store(self.directory)
        self.keeper = Keeper(self.settings, self.directory, "test")
        self.keeper.open()

    async def close(self) -> None:
        await self.blobs.close()
        await self.reader.close()
        await self.writer.close()

    async def write(self, kind: Any, user_id: str = "ana", **fields: Any) -> Any:
        return await self.store.write(kind(command_id=new_id("cmd"), user_id=user_id, **fields), deadline_s=60.0)

    async def blob(self, content: bytes) -> str:
        upload = await self.blobs.begin()
        await self.blobs.append(upload, 0, content)
        blob_hash, _ = await self.blobs.commit(upload)
        return blob_hash

    async def document(self, n: int) -> str:
        """A document with a file, a passage and a vector; its file's hash."""
        blob_hash = await self.blob(f"the file of document {n} ".encode() * 50)
        text = f"document{n} lantern harbour {'meadow' if n % 2 else 'forest'} evening"
        await self.write(
            c.AddDocument, document_id=f"d{n}", job_id=f"j{n}", project_id="p", title=f"t{n}", filename=f"{n}.txt",
            media_type="text/plain", blob_hash=blob_hash, size_bytes=1_200,
        )  # fmt: skip
        (job,) = [
            each
            for each in await self.write(c.LeaseJobs, c.SYSTEM_USER, worker="w", limit=100, lease_s=300)
            if each.id == f"j{n}"
        ]
        vector = np.array([n + 1, 7, 20 - n], dtype="<f4")
        chunk = c.NewChunk(ordinal=0, text=text, start=0, end=len(text))
        await self.write(
            c.StoreDocuments, c.SYSTEM_USER, job_id=job.id, lease_token=job.lease_token, lease_s=300, project_id="p", space=SPACE,
            documents=(c.IndexedDocument(document_id=f"d{n}", title=f"t{n}", text=text, chunks=(chunk,),
                                         vectors=(vector / np.linalg.norm(vector)).astype("<f4").tobytes()),),
        )  # fmt: skip
        return blob_hash

    async def found(self, query: str) -> tuple[int, ...]:
        return (await self.store.read("search_text", user_id="ana", project_id=None, query=query, k=10)).ids

    @property
    def target(self) -> Path:
        return Path(self.settings.backups_target)

    @property
    def on_sqlite(self) -> bool:
        return self.settings.database_url.startswith("sqlite")


@pytest.fixture
async def house(tmp_path: Path, database_of: Callable[[Path], str], request: pytest.FixtureRequest) -> AsyncIterator[House]:
    home = tmp_path / "home"
    if "postgresql" in database_of(home):
        request.getfixturevalue("cluster").sql(f"ALTER ROLE {OWNER} CREATEDB")
    home.mkdir()
    (home / "key").write_text("pk_the_first\n")
    house = House(home, database_of(home), tmp_path / "target")
    await house.write(c.CreateUser, c.SYSTEM_USER, new_user_id="ana", name="Ana")
    await house.write(c.CreateProject, project_id="p", name="p")
    for n in range(6):
        await house.document(n)
    yield house
    await house.close()


def there(path: Path) -> bool:
    return path.exists()


def bring_back(house: House, home: Path, url: str, **options: Any) -> Any:
    settings = load_settings({"PERENNE_HOME": str(home), "PERENNE_DATABASE_URL": url})
    given = {"passphrase": None, "backup_id": None, "force": False, "tell": lambda _: None} | options
    passphrase, backup_id = given.pop("passphrase"), given.pop("backup_id")
    return restore(settings, str(house.target), passphrase, backup_id, **given)


async def test_a_lost_home_comes_back_as_it_was_and_begins_a_new_origin(
    house: House, tmp_path: Path, database_of: Callable[[Path], str]
) -> None:
    made = await house.keeper.create("manual")
    assert made.verified.ok
    assert (made.backup.documents, made.backup.missing) == (6, 0)
    found = await house.found("lantern document3")
    head, origin = made.backup.seq, made.backup.origin
    await house.document(99)  # after the cut
    other = tmp_path / "other"
    done = await asyncio.to_thread(bring_back, house, other, database_of(other))
    assert done.checked.faults == ()
    assert done.checked.texts > 0
    assert done.checked.vectors == 6
    again = House(other, database_of(other), house.target)
    try:
        assert await again.store.read("counts", deadline_s=60.0) is not None
        assert await again.found("lantern document3") == found
        assert await again.found("document99") == ()
        assert (await again.writer.head()) == head
        feed = await again.store.read("index_feed", space=SPACE, after_seq=0)
        assert feed.origin not in ("", origin)
        document = await again.store.read("document", user_id="ana", document_id="d2")
        assert await again.blobs.verify(document.blob_hash)
        assert (other / "key").read_text() == "pk_the_first\n"
        assert not (other / "restoring").exists()
        await again.document(50)  # it goes on
        assert len(await again.found("document50")) == 1
    finally:
        await again.close()


@on_one
async def test_what_did_not_change_is_stored_once(house: House) -> None:
    first = await house.keeper.create("manual")
    second = await house.keeper.create("manual")
    assert second.backup.new_bytes < first.backup.new_bytes
    assert [backup.id for backup in house.keeper.backups()] == [second.backup.id, first.backup.id]


@on_one
async def test_a_file_whose_row_goes_right_after_the_cut_is_in_the_backup(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper spares what is young and what a row names. A file that is old, whose document is deleted after the cut, is
    neither: without `hold` the next sweep removed it before the backup came to it."""
    blob_hash = (await house.store.read("document", user_id="ana", document_id="d1")).blob_hash
    path = Path(await house.blobs.path(blob_hash))
    os.utime(path, (time.time() - OLD_S,) * 2)
    real = house.reader.cut_database

    async def then_delete(*, folder: str) -> Any:
        made = await real(folder=folder)
        await house.write(c.DeleteDocument, document_id="d1")
        assert await asyncio.to_thread(house.blobs._sweeper.sweep) == (0, 0)
        return made

    monkeypatch.setattr(house.reader, "cut_database", then_delete)
    made = await house.keeper.create("manual")
    assert (made.backup.missing, made.verified.ok) == (0, True)
    assert there(path)
    assert (await asyncio.to_thread(house.blobs._sweeper.sweep))[0] == 1  # it was let go of
    assert not there(path)


async def test_without_the_right_to_create_databases_a_restore_works_and_a_drill_says_what_it_needs(
    house: House, tmp_path: Path, database_of: Callable[[Path], str], request: pytest.FixtureRequest
) -> None:
    if house.on_sqlite:
        pytest.skip("a copy of SQLite's is tried out as a file")
    request.getfixturevalue("cluster").sql(f"ALTER ROLE {OWNER} NOCREATEDB")
    await house.keeper.create("manual")
    done = await house.keeper.drill(None)
    assert not done.ok
    assert "ALTER ROLE" in done.faults[0]
    other = tmp_path / "other"
    brought = await asyncio.to_thread(bring_back, house, other, database_of(other))
    assert brought.checked.faults == ()
    assert brought.checked.vectors == 6


@on_one
async def test_a_file_that_the_home_lacks_is_said_to_be_missing(house: House) -> None:
    blob_hash = (await house.store.read("document", user_id="ana", document_id="d1")).blob_hash
    os.unlink(await house.blobs.path(blob_hash))
    made = await house.keeper.create("manual")
    assert (made.backup.missing, made.verified.ok) == (1, True)


async def test_a_drill_finds_a_good_backup_good_and_leaves_nothing(house: House) -> None:
    made = await house.keeper.create("manual")
    await house.document(77)
    done = await house.keeper.drill(None)
    assert done.ok, done.faults
    assert done.backup_id == made.backup.id
    assert (done.vectors, done.texts > 0, done.rows > 0) == (6, True, True)
    assert list((Path(house.settings.home) / "scratch" / "backups").iterdir()) == []


@on_one
async def test_a_drill_and_a_restore_find_a_damaged_piece(
    house: House, tmp_path: Path, database_of: Callable[[Path], str]
) -> None:
    await house.keeper.create("manual")
    for piece in sorted(house.target.glob("pieces/*/*")):
        data = bytearray(piece.read_bytes())
        data[len(data) // 2] ^= 1
        piece.write_bytes(data)
    done = await house.keeper.drill(None)
    assert not done.ok
    assert "damaged" in done.faults[0]
    assert not (await house.keeper.verify(None)).ok
    other = tmp_path / "other"
    with pytest.raises(BackupDamaged):
        await asyncio.to_thread(bring_back, house, other, database_of(other))
    assert not (other / "restoring").exists()
    assert not (other / "blobs").exists()


@on_one
async def test_a_backup_that_is_damaged_as_it_is_written_is_made_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    real, spoilt = house.keeper._store, list[str]()

    def spoil(*arguments: Any) -> Any:
        manifest = real(*arguments)
        if not spoilt:
            (piece_id, *_) = next(
                entry for entry in manifest.entries if entry.name.startswith("blobs/")
            ).pieces  # is in the next one too
            piece = house.target / "pieces" / piece_id[:2] / piece_id[2:]
            piece.write_bytes(piece.read_bytes()[:-1] + b"?")
            spoilt.append(manifest.id)
        return manifest

    monkeypatch.setattr(house.keeper, "_store", spoil)
    made = await house.keeper.create("manual")
    assert made.verified.ok
    assert made.backup.id != spoilt[0]
    assert (await house.keeper.verify(spoilt[0])).ok  # healed by the bytes that were stored again


async def test_a_home_with_documents_is_restored_over_only_when_told_to(house: House) -> None:
    made = await house.keeper.create("manual")
    await house.document(99)
    await house.close()
    home, url = Path(house.settings.home), house.settings.database_url
    with pytest.raises(Conflict, match="--force"):
        await asyncio.to_thread(bring_back, house, home, url)
    (home / "key").write_text("pk_another\n")
    (home / "index").mkdir()
    done = await asyncio.to_thread(bring_back, house, home, url, force=True)
    assert (home / "key").read_text() == "pk_the_first\n"
    assert (home / "key-before-restore").read_text() == "pk_another\n"
    assert not (home / "index").exists()
    assert (done.kept is not None) == house.on_sqlite
    house.open()
    assert await house.store.read("counts", deadline_s=60.0) is not None
    assert await house.writer.head() == made.backup.seq
    with pytest.raises(NotFound):
        await house.store.read("document", user_id="ana", document_id="d99")


@on_one
async def test_with_a_passphrase_nothing_can_be_read_without_it(
    house: House, tmp_path: Path, database_of: Callable[[Path], str]
) -> None:
    backups = house.settings.backups.model_copy(update={"passphrase": "four words of mine", "target": str(tmp_path / "sealed")})
    house.settings = house.settings.model_copy(update={"backups": backups})
    house.keeper = Keeper(house.settings, house.directory, "test")
    await house.keeper.create("manual")
    assert not any(b"lantern" in piece.read_bytes() for piece in house.target.glob("pieces/*/*"))
    other = tmp_path / "other"
    with pytest.raises(WrongPassphrase):
        await asyncio.to_thread(bring_back, house, other, database_of(other))
    done = await asyncio.to_thread(bring_back, house, other, database_of(other), passphrase="four words of mine")
    assert done.backup.documents == 6


@on_one
async def test_a_keeper_says_what_it_did_and_what_was_interrupted(house: House) -> None:
    rounds = Rounds(house.settings, house.keeper)
    house.keeper.note = rounds.noted
    running = asyncio.create_task(rounds.run())
    rounds.ask("backup")
    home = house.settings.home

    async def ended() -> Any:
        held = read_schedule(home, "backup")
        return held if held is not None and held.running_since is None and held.last is not None else None

    held = await eventually(ended, within_s=60)
    assert held.last.ok
    assert held.last.asked
    assert held.good == held.last
    assert "6 documents" in held.last.detail
    assert held.last.backup_id == house.keeper.backups()[0].id
    running.cancel()
    write_schedule(home, replace(held, running_since=held.last.ended_at))
    again = Rounds(house.settings, house.keeper)
    (schedule,) = [each for each in again.schedules() if each.name == "backup"]
    assert isinstance(schedule.last, ScheduleResult)
    assert (schedule.last.ok, schedule.running_since) == (False, None)
    assert "interrupted" in schedule.last.detail
    assert schedule.good == held.last


@on_one
async def test_a_restore_that_died_is_dropped_or_completed_by_the_next_start(house: House, tmp_path: Path) -> None:
    home = Path(house.settings.home)
    scratch = home / "restoring"
    (scratch / "database").mkdir(parents=True)
    (scratch / "database" / "perenne.db").write_bytes(b"a copy")
    (scratch / "home").mkdir()
    (scratch / "home" / "key").write_text("pk_of_the_backup\n")
    (scratch / "checked").touch()
    shutil.copytree(scratch, tmp_path / "kept")
    finish(house.settings)
    assert not scratch.exists()
    assert (home / "key").read_text() == "pk_the_first\n"  # the old database is there, so is its key
    shutil.copytree(tmp_path / "kept", scratch)
    (scratch / "database" / "perenne.db").unlink()  # it went to its place
    finish(house.settings)
    assert not scratch.exists()
    assert (home / "key").read_text() == "pk_of_the_backup\n"


@on_one
async def test_nothing_of_a_backup_that_died_is_listed_and_the_next_one_works(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await house.keeper.create("manual")

    def dies(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "commit", dies)
        with pytest.raises(KeyboardInterrupt):
            await house.keeper.create("manual")
    with Repository.open(str(house.target)) as repository:
        assert [each.id for each in repository.list()] == [first.backup.id]
    assert (await house.keeper.create("manual")).verified.ok
