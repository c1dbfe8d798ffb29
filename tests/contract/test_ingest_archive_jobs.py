"""Archives and locked files as jobs: members become documents, once; a password lives in memory only."""

from pathlib import Path
from typing import Any

from actors.ingest.passwords import KEPT_MAX, Passwords
from perenne.errors import Unavailable
from perenne.ids import new_id
from perenne.messages import commands as c
from perenne.messages.records import Job
from perenne.testing import eventually
from tests.unit import ingest_files as files
from tests.unit.ingest_house import OWNER, House, house
from tests.unit.test_ingest_archives import locked

PARTS: dict[str, str | bytes] = {"a/x.txt": "Words of x.", "y.md": "# Y\n\nWords of y.", "p.png": b"\x89PNG\r\n\x1a\n...."}


async def titles(home: House) -> dict[str, Any]:
    return {document.title: document for document in await home.documents()}


async def all_indexed(home: House, count: int) -> dict[str, Any]:
    async def check() -> dict[str, Any] | None:
        found = await titles(home)
        return found if len(found) == count and all(d.state == "indexed" for d in found.values()) else None

    found = await eventually(check, 60.0)
    assert found is not None
    return found


async def test_each_file_of_an_archive_becomes_a_document(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        job = await home.ended(await home.add(files.archive(PARTS), "box.zip"))
        assert (job.state, job.result["added"], job.result["skipped"]) == ("done", 2, 1)
        assert job.result["errors"][0]["path"] == "p.png"
        found = await all_indexed(home, 3)
        assert set(found) == {"box.zip", "box.zip/a/x.txt", "box.zip/y.md"}
        assert await home.text(found["box.zip/a/x.txt"].id) == "Words of x."
        assert found["box.zip/a/x.txt"].external_id == f"{found['box.zip'].id}/a/x.txt"
        assert not list((tmp_path / "ingest").glob("*.members"))


async def test_an_archive_that_is_begun_again_doubles_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        job = await home.add(files.archive(PARTS), "box.zip")
        begun = home.blobs.commit
        fails = 3

        async def failing(upload_id: str, expected_hash: str | None = None) -> tuple[str, int]:
            nonlocal fails
            fails -= 1
            if fails == 1:  # the second member's: the first one is a document by then
                raise Unavailable("BlobStore:pc1", 0.1)
            return await begun(upload_id, expected_hash)

        home.blobs.commit = failing  # type: ignore[method-assign]
        home.start()
        assert (await home.ended(job)).state == "done"
        assert fails < 1
        assert set(await all_indexed(home, 3)) == {"box.zip", "box.zip/a/x.txt", "box.zip/y.md"}


async def test_a_newer_archive_replaces_the_files_of_the_older(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        await home.ended(await home.add(files.archive({"x.txt": "Old words."}), "box.zip", external_id="box"))
        await all_indexed(home, 2)
        await home.ended(await home.add(files.archive({"x.txt": "New words."}), "box.zip", external_id="box"))

        async def check() -> bool:
            found = await titles(home)
            x = found["box.zip/x.txt"]
            return len(found) == 2 and x.state == "indexed" and await home.text(x.id) == "New words."

        await eventually(check, 60.0)


async def add_locked(home: House, password: str | None) -> Job:
    """A locked archive, with its password brought the way the edge brings it."""
    content = locked({"x.txt": b"Secret words."}, b"open sesame")
    command = c.AddDocument(
        command_id=new_id("cmd"),
        user_id=OWNER,
        document_id=new_id("doc"),
        job_id=new_id("job"),
        project_id="prj_one",
        title="box.zip",
        blob_hash=home.blobs.put(content),
        size_bytes=len(content),
        filename="box.zip",
    )
    if password is not None:
        home.passwords.keep(command.job_id, password)
    return (await home.write(command)).job


def written(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


async def test_a_password_opens_its_file_and_is_nowhere_on_disk(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        job = await home.ended(await add_locked(home, "open sesame"))
        assert job.state == "done"
        found = await all_indexed(home, 2)
        assert await home.text(found["box.zip/x.txt"].id) == "Secret words."
        assert home.passwords.of(job.id) is None
        assert not [path for path in written(tmp_path) if b"open sesame" in path.read_bytes()]


async def test_a_password_forgotten_by_a_restart_is_asked_for_again(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        await home.crash()
        job = await add_locked(home, "open sesame")
        home.start()  # another process: it knows of no password
        ended = await home.ended(job)
        assert (ended.state, ended.code) == ("refused", "password_needed")
        home.passwords.keep(job.id, "open sesame")
        await home.write(c.RetryJob(command_id=new_id("cmd"), user_id=OWNER, job_id=job.id))
        assert (await home.ended(job)).state == "done"
        await all_indexed(home, 2)


def test_the_memory_of_passwords_is_bounded() -> None:
    held = Passwords()
    for number in range(KEPT_MAX + 1):
        held.keep(f"job{number}", "sesame")
    assert held.of("job0") is None
    assert held.of(f"job{KEPT_MAX}") == "sesame"
    assert "sesame" not in repr(held)
