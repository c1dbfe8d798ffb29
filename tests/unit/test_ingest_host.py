"""Jobs from lease to end, over the real store: ends, outages, restarts, cancelling, retries."""

import asyncio
import json
from pathlib import Path

from actors.ingest.line_reader import document_id
from perenne import names
from perenne.ids import new_id
from perenne.messages import commands as c
from perenne.testing import eventually
from tests.unit import ingest_files as files
from tests.unit.ingest_house import OWNER, PROJECT, House, house

LONG = "\n\n".join(
    f"Paragraph number {n} of a long text that says little, but it says it in a whole sentence." for n in range(4000)
)


def lines(count: int, start: int = 0) -> bytes:
    rows = [{"id": f"x{n}", "title": f"T{n}", "text": f"The text of line {n} is short."} for n in range(start, start + count)]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def passages(home: House, doc: str) -> list[str]:
    """All of a document's passages, checked against its text."""
    import pysqlite3

    text = await home.text(doc)
    with pysqlite3.connect(home.settings.path("store", "perenne.db")) as db:
        rows = db.execute(
            'SELECT ordinal, text, "start", "end" FROM chunks WHERE document_id = ? ORDER BY ordinal', (doc,)
        ).fetchall()
        held = db.execute("SELECT count(*) FROM vectors WHERE document_id = ?", (doc,)).fetchone()[0]
    assert [row[0] for row in rows] == list(range(len(rows)))
    assert all(text[start:end] == passage for _, passage, start, end in rows)
    assert held == len(rows)
    return [row[1] for row in rows]


async def test_files_end_in_their_own_states_and_the_next_goes_on(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        good = await home.add(files.pdf("A page of words."), "a.pdf")
        broken = await home.add(b"%PDF-1.4 nothing", "b.pdf")
        image = await home.add(b"\x89PNG\r\n\x1a\n...", "c.png")
        text = await home.add(b"Some words.", "d.txt")
        ended = [await home.ended(job) for job in (good, broken, image, text)]
        assert [job.state for job in ended] == ["done", "refused", "refused", "done"]
        assert ended[0].result == {"chunks": 1}
        assert "damaged" in str(ended[1].reason)
        assert "not supported yet" in str(ended[2].reason)
        assert [job.code for job in ended] == [None, "damaged", "unsupported", None]
        assert ended[2].details == {"what": "a PNG image"}
        codes = {document.title: document.code for document in await home.documents()}
        assert codes == {"a.pdf": None, "b.pdf": "damaged", "c.png": "unsupported", "d.txt": None}
        states = {document.title: document.state for document in await home.documents()}
        assert states == {"a.pdf": "indexed", "b.pdf": "refused", "c.png": "refused", "d.txt": "indexed"}


async def test_a_long_file_is_stored_in_parts_that_join_to_its_text(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        job = await home.ended(await home.add(LONG.encode(), "long.txt"), 30.0)
        assert job.state == "done"
        assert await home.text(str(job.document_id)) == LONG
        found = await passages(home, str(job.document_id))
        assert len(found) == job.result["chunks"] > 400
        assert (job.done, job.total) == (len(found), len(found))


async def test_a_host_that_died_midway_is_gone_on_from_where_it_was(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.directory.slow(names.EMBEDDING, 0.05)
        home.start()
        job = await home.add(LONG.encode(), "long.txt")

        async def begun() -> bool:
            return (await home.job(job)).checkpoint is not None

        await eventually(begun, 15.0)
        await home.crash()
        before = await home.job(job)
        assert before.state == "running"
        embedded = sum(len(r.texts) for r in home.embedder.requests)
        home.directory.revive(names.EMBEDDING)
        home.start()
        after = await home.ended(job, 30.0)  # at once: its own lease is taken back, not waited for
        assert after.state == "done"
        assert len(await passages(home, str(job.document_id))) == after.result["chunks"]
        assert await home.text(str(job.document_id)) == LONG
        again = sum(len(r.texts) for r in home.embedder.requests) - embedded
        assert again <= after.result["chunks"] - before.done


async def test_a_model_on_its_way_is_waited_for_and_said(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.embedder.phase, home.embedder.progress = "downloading", 0.34
        home.start()
        job = await home.add(b"Some words.", "a.txt")
        bad = await home.add(b"%PDF-1.4 nothing", "b.pdf")

        async def waiting() -> bool:
            now = await home.job(job)
            return now.state == "queued" and "downloading 34%" in (now.reason or "")

        await eventually(waiting, 10.0)
        assert (await home.ended(bad)).state == "refused"  # what is wrong with a file is told without a model
        home.embedder.phase = "ready"
        assert (await home.ended(job, 10.0)).state == "done"


async def test_an_embedder_that_restarts_costs_no_job(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.directory.kill(names.EMBEDDING)
        home.start()
        job = await home.add(b"Some words.", "a.txt")

        def asked() -> bool:
            return home.host is not None and home.host.queue > 0

        await eventually(asked)
        home.directory.put(names.EMBEDDING, home.embedder)
        ended = await home.ended(job)
        assert (ended.state, ended.attempts) == ("done", 1)


async def test_a_writer_that_restarts_costs_no_job(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.directory.slow(names.EMBEDDING, 0.3)
        home.start()
        job = await home.add(b"Some words.", "a.txt")
        await eventually(lambda: any(call[:2] == (names.EMBEDDING, "embed") for call in home.directory.calls))
        home.directory.kill(names.STORE_WRITER)
        await eventually(lambda: len(home.embedder.requests) == 1)
        await asyncio.sleep(0.5)  # the commit runs into the outage
        home.directory.put(names.STORE_WRITER, home.writer)
        assert (await home.ended(job)).state == "done"
        assert len(await passages(home, str(job.document_id))) == 1


async def test_a_cancelled_job_stops_at_once_and_leaves_no_parser(tmp_path: Path) -> None:
    async with house(tmp_path, lease_s=1.5) as home:
        home.start()
        assert home.host is not None
        job = await home.add(b"<table>" + b"<tr><td>cell and words" * 1_500_000, "slow.html")

        async def running() -> bool:
            return (await home.job(job)).state == "running"

        await eventually(running)
        await home.write(c.CancelJob(command_id=new_id("cmd"), user_id=OWNER, job_id=job.id))
        host = home.host
        await eventually(lambda: host.queue == 0 and host.ended["lost"] == 1, 4.0)
        assert (await home.job(job)).state == "cancelled"
        assert (await home.ended(await home.add(b"Next.", "next.txt"))).state == "done"


async def test_a_retry_works_after_a_refusal(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        job = await home.add(b"%PDF-1.4 nothing", "a.pdf")
        assert (await home.ended(job)).state == "refused"
        (home.blobs.folder / str(job.blob_hash)).write_bytes(files.pdf("Now it is whole."))
        await home.write(c.RetryJob(command_id=new_id("cmd"), user_id=OWNER, job_id=job.id))
        assert (await home.ended(job)).state == "done"


async def test_missing_bytes_fail_the_job_with_a_sentence(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        job = await home.add(b"Some words.", "a.txt")
        (home.blobs.folder / str(job.blob_hash)).unlink()
        home.start()
        ended = await home.ended(job)
        assert ended.state == "failed"
        assert "add it again" in str(ended.reason)


async def test_lines_become_documents_and_bad_ones_are_counted(tmp_path: Path) -> None:
    content = lines(300) + b'not json\n\n{"id": "x"}\n{"id":"untitled","text":"No title."}\n'
    async with house(tmp_path) as home:
        home.start()
        job = await home.ended(await home.add_lines(content), 30.0)
        assert job.state == "done"
        assert (job.result["added"], job.result["skipped"]) == (301, 2)
        assert [error["line"] for error in job.result["errors"]] == [301, 303]
        documents = {document.external_id: document for document in await home.documents()}
        assert len(documents) == 301
        assert documents["x7"].title == "T7"
        assert documents["untitled"].title == "untitled"
        assert await home.text(documents["x7"].id) == "The text of line 7 is short."
        assert job.done == job.total == len(content)


async def test_lines_added_again_replace_and_never_double(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        await home.ended(await home.add_lines(lines(50)))
        changed = lines(50).replace(b"short", b"changed")
        await home.ended(await home.add_lines(changed + lines(10, 50)))
        documents = {document.external_id: document for document in await home.documents()}
        assert len(documents) == 60
        assert "changed" in await home.text(documents["x3"].id)
        assert documents["x3"].id == document_id(PROJECT, "x3")


async def test_a_host_that_died_amid_lines_goes_on_at_the_next_one(tmp_path: Path) -> None:
    giant = json.dumps({"id": "giant", "title": "G", "text": LONG * 2}).encode() + b"\n"
    async with house(tmp_path) as home:
        home.directory.slow(names.EMBEDDING, 0.03)
        home.start()
        job = await home.add_lines(lines(400) + giant + lines(100, 400))

        async def inside_the_giant() -> bool:
            return '"part":0' not in ((await home.job(job)).checkpoint or '"part":0')

        await eventually(inside_the_giant, 20.0)
        await home.crash()
        assert (await home.job(job)).state == "running"
        home.directory.revive(names.EMBEDDING)
        home.start()
        ended = await home.ended(job, 30.0)
        documents = {document.external_id: document for document in await home.documents()}
        chunks = sum(document.chunks for document in documents.values())
        assert ended.result == {"added": 501, "skipped": 0, "chunks": chunks, "errors": []}
        assert len(documents) == 501
        assert await home.text(documents["giant"].id) == LONG * 2
        assert len(await passages(home, documents["giant"].id)) == documents["giant"].chunks


async def test_a_long_line_whose_job_is_cancelled_ends_with_it_and_goes_in_anew(tmp_path: Path) -> None:
    """Its document said "indexing" for ever, and the passages that were stored of it were found."""
    giant = json.dumps({"id": "giant", "title": "G", "text": LONG * 2}).encode() + b"\n"
    async with house(tmp_path) as home:
        home.directory.slow(names.EMBEDDING, 0.03)
        home.start()
        job = await home.add_lines(lines(10) + giant + lines(10, 10))

        async def inside_the_giant() -> bool:
            return '"part":0' not in ((await home.job(job)).checkpoint or '"part":0')

        await eventually(inside_the_giant, 20.0)
        await home.write(c.CancelJob(command_id=new_id("cmd"), user_id=OWNER, job_id=job.id))
        documents = {document.external_id: document for document in await home.documents()}
        cut = documents["giant"]
        assert (cut.state, cut.code, cut.chunks) == ("failed", "cancelled", 0)
        assert await passages(home, cut.id) == []
        assert {d.state for d in documents.values() if d.id != cut.id} == {"indexed"}
        home.directory.revive(names.EMBEDDING)
        await home.write(c.RetryJob(command_id=new_id("cmd"), user_id=OWNER, job_id=job.id))
        ended = await home.ended(job, 30.0)
        assert (ended.state, ended.result["added"]) == ("done", 21)
        assert await home.text(cut.id) == LONG * 2
        assert {d.state for d in await home.documents()} == {"indexed"}


async def test_a_long_line_that_is_deleted_meanwhile_costs_its_job_nothing_else(tmp_path: Path) -> None:
    """The job failed at the next part, and the lines after it were never read."""
    giant = json.dumps({"id": "giant", "title": "G", "text": LONG * 2}).encode() + b"\n"
    async with house(tmp_path) as home:
        home.directory.slow(names.EMBEDDING, 0.03)
        home.start()
        job = await home.add_lines(giant + lines(10))

        async def begun() -> bool:
            return bool(await home.documents())

        await eventually(begun, 20.0)
        identity = document_id(PROJECT, "giant")
        await home.write(c.DeleteDocument(command_id=new_id("cmd"), user_id=OWNER, document_id=identity))
        home.directory.revive(names.EMBEDDING)
        assert (await home.ended(job, 30.0)).state == "done"
        assert sorted(str(d.external_id) for d in await home.documents()) == [f"x{n}" for n in range(10)]


async def test_lines_without_one_document_are_refused(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        job = await home.ended(await home.add_lines(b"a\nb\n"))
        assert job.state == "refused"
        assert "none of its 2 lines" in str(job.reason)
        assert (job.code, job.details) == ("no_documents", {"lines": 2})
        assert job.result["skipped"] == 2


async def test_health_tells_of_work_and_of_progress(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.directory.hang(names.EMBEDDING)
        home.start()
        await home.add(b"Some words.", "a.txt")
        assert home.host is not None
        host = home.host
        await eventually(lambda: host.queue == 1)
        assert host.pulse.age_s() < 2.0  # the embedder hangs, the host doesn't
        home.directory.revive(names.EMBEDDING)
        await eventually(lambda: host.queue == 0 and host.ended["done"] == 1)


async def test_an_idle_host_writes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        home.start()
        await home.ended(await home.add(b"Some words.", "a.txt"))

        def leases() -> int:
            return sum(
                1
                for _, method, kwargs in home.directory.calls
                if method == "submit" and isinstance(kwargs["commands"][0], c.LeaseJobs)
            )

        before = leases()
        reads = len(home.directory.calls)
        await eventually(lambda: len(home.directory.calls) >= reads + 2, 8.0)  # it polls
        assert leases() == before
