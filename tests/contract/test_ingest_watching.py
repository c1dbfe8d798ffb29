"""Watched folders: what the disk holds becomes documents; what leaves it leaves; a disk that is away costs nothing."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from actors.ingest import folder_watch
from actors.ingest.folder import IGNORED, Listing, Stamp, compare, is_ignored, list_folder
from actors.ingest.watching import check_folder
from perenne.errors import InvalidRequest
from perenne.ids import new_id
from perenne.messages import commands as c
from perenne.messages.records import HeldFile, Watch, WatchPhase
from perenne.testing import eventually
from tests.unit import ingest_files as files
from tests.unit.ingest_house import OWNER, PROJECT, House, house

WITHIN_S = 60.0


@pytest_asyncio.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(folder_watch, "SETTLE_S", 0.1)
    monkeypatch.setattr(folder_watch, "AWAY_S", 0.3)
    async with house(tmp_path / "home") as made:
        made.start()
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "papers"
    (made / "deep").mkdir(parents=True)
    (made / "a.txt").write_text("Words of a.")
    (made / "deep" / "b.md").write_text("# B\n\nWords of b.")
    (made / ".hidden").write_text("Hidden words.")
    (made / "open.docx.tmp").write_text("Half a file.")
    return made


async def watch(home: House, folder: Path, *ignore: str) -> Watch:
    command = c.AddWatch(
        command_id=new_id("cmd"), user_id=OWNER, watch_id=new_id("wat"), project_id=PROJECT, path=str(folder), ignore=ignore
    )
    made: Watch = await home.write(command)
    assert home.host is not None
    home.host.watching.look()
    return made


async def until_titles(home: House, *titles: str, also: Callable[[], bool] = lambda: True) -> None:
    async def check() -> bool:
        found = await home.documents()
        return sorted(d.title for d in found) == sorted(titles) and all(d.state == "indexed" for d in found) and also()

    await eventually(check, WITHIN_S)


async def until_phase(home: House, made: Watch, phase: WatchPhase) -> str | None:
    def check() -> bool:
        assert home.host is not None
        state = home.host.watching.states().get(made.id)
        return state is not None and state.phase == phase

    await eventually(check, WITHIN_S)
    assert home.host is not None
    return home.host.watching.states()[made.id].reason


async def test_files_that_come_change_and_go_are_followed(home: House, folder: Path) -> None:
    made = await watch(home, folder, "drafts/*")
    await until_titles(home, "a.txt", "deep/b.md")
    first = {d.title: d for d in await home.documents()}
    assert first["deep/b.md"].external_id == f"{made.id}/deep/b.md"
    (folder / "drafts").mkdir()
    (folder / "drafts" / "d.txt").write_text("A draft.")
    (folder / "c.txt").write_text("Words of c.")
    await until_titles(home, "a.txt", "deep/b.md", "c.txt")
    (folder / "a.txt").write_text("Other words of a.")

    async def changed() -> bool:
        return await home.text(first["a.txt"].id) == "Other words of a."

    await eventually(changed, WITHIN_S)
    (folder / "c.txt").unlink()
    shutil.rmtree(folder / "deep")
    await until_titles(home, "a.txt")


async def test_a_disk_that_is_away_is_a_state_and_deletes_nothing(home: House, folder: Path, tmp_path: Path) -> None:
    made = await watch(home, folder)
    await until_titles(home, "a.txt", "deep/b.md")
    os.rename(folder, tmp_path / "away")
    assert "can't be read" in (await until_phase(home, made, "missing") or "")
    os.mkdir(folder)  # the empty mount point that a disk leaves
    assert "2 documents of it are kept" in (await until_phase(home, made, "emptied") or "")
    assert len(await home.documents()) == 2
    os.rmdir(folder)
    os.rename(tmp_path / "away", folder)
    await until_phase(home, made, "watching")
    await until_titles(home, "a.txt", "deep/b.md")


async def test_a_restart_finds_what_changed_meanwhile_and_adds_nothing_twice(home: House, folder: Path) -> None:
    await watch(home, folder)
    await until_titles(home, "a.txt", "deep/b.md")
    before = {d.title: d for d in await home.documents()}
    await home.crash()
    (folder / "deep" / "b.md").unlink()
    (folder / "new.txt").write_text("New words.")
    home.start()
    await until_titles(home, "a.txt", "new.txt")
    after = {d.title: d for d in await home.documents()}
    assert (after["a.txt"].id, after["a.txt"].created_at) == (before["a.txt"].id, before["a.txt"].created_at)
    page = await home.store.read("jobs", user_id=OWNER, project_id=None, states=None, limit=50, after=None)
    assert len([job for job in page.items if job.document_id == before["a.txt"].id]) == 1


async def test_the_files_of_an_archive_leave_with_it(home: House, folder: Path) -> None:
    (folder / "box.zip").write_bytes(files.archive({"x.txt": "Words of x."}))
    await watch(home, folder)
    await until_titles(home, "a.txt", "deep/b.md", "box.zip", "box.zip/x.txt")
    before = {document.title: document.blob_hash for document in await home.documents()}

    async def read_anew() -> bool:
        return {d.title: d.blob_hash for d in await home.documents() if d.state == "indexed"}.get(
            "a.txt", before["a.txt"]
        ) != before["a.txt"]

    (folder / "a.txt").write_text("A change, and a scan.")
    await eventually(read_anew, WITHIN_S)  # by a scan, which saw the archive as well
    assert len(await home.documents()) == 4
    (folder / "box.zip").unlink()
    await until_titles(home, "a.txt", "deep/b.md")


async def test_a_file_that_cannot_be_added_is_counted_and_the_others_go_on(home: House, folder: Path) -> None:
    (folder / "empty.txt").touch()
    os.link(folder / "a.txt", os.fsencode(folder) + b"/bad\xff.txt")  # a name that is no text
    made = await watch(home, folder)
    await until_titles(home, "a.txt", "deep/b.md")
    await until_phase(home, made, "watching")
    assert home.host is not None
    state = home.host.watching.states()[made.id]
    assert (state.files, state.skipped) == (2, 2)


async def test_a_watch_that_is_removed_leaves_its_documents(home: House, folder: Path) -> None:
    made = await watch(home, folder)
    await until_titles(home, "a.txt", "deep/b.md")
    await home.write(c.RemoveWatch(command_id=new_id("cmd"), user_id=OWNER, watch_id=made.id))
    assert home.host is not None
    home.host.watching.look()
    await eventually(lambda: home.host is not None and not home.host.watching.states(), WITHIN_S)
    (folder / "a.txt").unlink()
    await asyncio.sleep(0.5)  # not a wait for a state: that nothing comes of it shows in nothing else
    assert len(await home.documents()) == 2


# What needs no house


def held(*paths: str) -> list[HeldFile]:
    return [HeldFile(document_id=f"doc-{path}", path=path, blob_hash="h") for path in paths]


def test_a_folder_that_cannot_be_looked_into_loses_nothing() -> None:
    stamp = Stamp(1, 1)
    listing = Listing({"a.txt": stamp}, unread=["locked"])
    difference = compare(listing, {"a.txt": stamp}, held("a.txt", "locked/b.txt", "locked/deep/c.txt", "gone/d.txt"))
    assert difference.changed == ()
    assert [file.path for file in difference.gone] == ["gone/d.txt"]


def test_links_and_pipes_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("Secret words.")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    assert set(list_folder(folder, ()).files) == {"a.txt", "deep/b.md"}


@pytest.mark.parametrize(
    ("path", "ignored"),
    [(".git", True), ("x/.env", True), ("~$letter.docx", True), ("a/b.txt", False), ("drafts/x.txt", True), ("B.BAK", True)],
)
def test_what_is_left_alone(path: str, ignored: bool) -> None:
    assert is_ignored(path, (*IGNORED, "drafts/*", "*.BAK")) is ignored


def test_only_a_folder_beside_our_own_state_is_watched(tmp_path: Path) -> None:
    own = tmp_path / "home"
    (own / "blobs").mkdir(parents=True)
    (tmp_path / "papers").mkdir()
    (tmp_path / "into").symlink_to(own / "blobs")
    assert check_folder(str(tmp_path / "papers"), own) == str(tmp_path / "papers")
    for path in ("papers", "/", str(tmp_path), str(own), str(own / "blobs"), str(tmp_path / "into"), str(tmp_path / "none")):
        with pytest.raises(InvalidRequest):
            check_folder(path, own)
