"""The real store and files over one folder: what a row names, and what is young, outlives every sweep."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from actors.blobs.files import BlobFiles
from actors.blobs.layout import Layout
from actors.blobs.resumable import ResumableUploads
from actors.blobs.sweeper import BLOB_GRACE_S, Sweeper
from actors.blobs.uploads import Uploads
from actors.store.actor import StoreReader, StoreWriter
from perenne import names
from perenne.errors import Unavailable
from perenne.ids import new_id
from perenne.messages import commands as c
from perenne.settings import Settings, load_settings
from perenne.store import Store
from perenne.testing import FakeDirectory, eventually


class House:
    def __init__(self, home: Path, database_url: str) -> None:
        settings: Settings = load_settings({"PERENNE_HOME": str(home), "PERENNE_DATABASE_URL": database_url})
        self.directory = FakeDirectory()
        self.writer = StoreWriter(names.STORE_WRITER, settings, self.directory)
        self.reader = StoreReader(names.store_reader(0), settings, self.directory)
        self.directory.put(names.STORE_WRITER, self.writer)
        self.directory.put(names.store_reader(0), self.reader)
        self.store = Store(self.directory)
        layout = Layout(settings.path("blobs"))
        self.files, self.uploads = BlobFiles(layout), Uploads(layout, 1 << 20)
        self.files.open()
        resumable = ResumableUploads(layout, settings.edge)
        resumable.open()
        self.sweeper = Sweeper(self.files, self.uploads, resumable, self.directory)

    async def write(self, kind: Any, user_id: str = "ana", **fields: Any) -> Any:
        return await self.store.write(kind(command_id=new_id("cmd"), user_id=user_id, **fields), deadline_s=60.0)

    def blob(self, content: str, age_s: float = 2 * BLOB_GRACE_S) -> str:
        """A stored file of that age."""
        upload = self.uploads.begin()
        self.uploads.append(upload, 0, content.encode())
        blob_hash, _ = self.uploads.commit(upload)
        os.utime(self.files.path(blob_hash), (time.time() - age_s,) * 2)
        return blob_hash


@pytest.fixture
async def house(tmp_path: Path, database_of: Callable[[Path], str]) -> AsyncIterator[House]:
    house = House(tmp_path, database_of(tmp_path))
    await house.write(c.CreateUser, c.SYSTEM_USER, new_user_id="ana", name="Ana")
    await house.write(c.CreateProject, project_id="p", name="p")
    yield house
    house.sweeper.stop()
    await house.reader.close()
    await house.writer.close()


async def named(house: House) -> tuple[str, str]:
    """A document's file and a job's."""
    document, lines = house.blob("a document"), house.blob("lines")
    await house.write(
        c.AddDocument,
        document_id="d",
        job_id="j1",
        project_id="p",
        title="d",
        filename="d.txt",
        media_type="text/plain",
        blob_hash=document,
        size_bytes=10,
    )
    await house.write(c.AddJsonLines, job_id="j2", project_id="p", blob_hash=lines, size_bytes=5)
    return document, lines


async def test_what_a_row_names_and_what_is_young_stays_and_an_old_orphan_goes(house: House) -> None:
    kept = await named(house)
    young, orphan = house.blob("on its way", age_s=BLOB_GRACE_S - 60), house.blob("nobody's")
    house.sweeper.start(every_s=0.05)
    await eventually(lambda: house.files.stat(orphan) is None, within_s=20)
    assert [house.files.stat(each) for each in (*kept, young)] == [10, 5, 10]
    await house.write(c.DeleteDocument, document_id="d")
    await house.write(c.CancelJob, job_id="j2")
    assert await house.reader.blob_hashes() == {kept[1]}
    await eventually(lambda: house.files.stat(kept[0]) is None, within_s=20)
    assert house.files.stat(kept[1]) == 5, "it may be tried again"


async def test_nothing_goes_while_the_store_is_away_or_names_nothing(house: House) -> None:
    orphan = house.blob("nobody's")
    assert await asyncio.to_thread(house.sweeper.sweep) == (0, 0)
    house.directory.kill(names.store_reader(0))
    with pytest.raises(Unavailable):
        await asyncio.to_thread(house.sweeper.sweep)
    assert house.files.stat(orphan) is not None


async def test_a_file_committed_again_amid_the_sweep_is_young_and_stays(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await named(house)
    orphan, real = house.blob("nobody's"), house.files._drop

    def committed_just_before(path: Path, before: float) -> bool:
        house.blob("nobody's", age_s=0)
        return real(path, before)

    monkeypatch.setattr(house.files, "_drop", committed_just_before)
    assert await asyncio.to_thread(house.sweeper.sweep) == (0, 0)
    assert house.files.stat(orphan) == 8


async def test_a_sweep_that_died_amid_its_work_loses_nothing(house: House) -> None:
    held = house.blob("whole")
    path = house.files.path(held)
    path.rename(path.parent.parent / "incoming" / f"{held}.old")
    (path.parent.parent / "incoming" / "other.old").touch()
    house.files.open()
    assert house.files.read(held, 0, 10) == b"whole"
