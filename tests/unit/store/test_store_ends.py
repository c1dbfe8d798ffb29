"""What becomes of documents, jobs and files when something of theirs is cancelled, replaced or deleted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.store import fulltext, reading
from actors.store.fulltext import WordCounts
from perenne.errors import InvalidRequest, LeaseLost, NotFound
from perenne.messages import commands as c
from perenne.messages.search import Filters
from tests.unit.store.store_house import StoreHouse, passage, unit


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path).people()
    yield made
    made.close()


def add(house: StoreHouse, name: str, **fields: object) -> c.DocumentAdded:
    given = {"project_id": "ana-home", "title": name, "size_bytes": 3, "blob_hash": f"blob of {name}"} | fields
    return house.do(c.AddDocument, document_id=name, job_id=f"job-{name}", **given)


def lease(house: StoreHouse) -> c.Job:
    (job,) = house.system(c.LeaseJobs, worker="w", limit=10, lease_s=30)
    return job


def part(words: str, at: int, **fields: object) -> c.IndexedDocument:
    """One passage of document `d`, after `at` characters."""
    chunk = c.NewChunk(ordinal=at, text=words, start=at, end=at + len(words))
    given = {"document_id": "d", "title": "d", "first": at == 0, "last": False} | fields
    return c.IndexedDocument(text=words, chunks=(chunk,), vectors=unit(1, 0), **given)


def found(house: StoreHouse, query: str, project_id: str = "ana-home") -> tuple[int, ...]:
    return house.ask(fulltext.search_text, WordCounts(), "ana", project_id, query, 10, Filters()).ids


def test_what_a_cancelled_job_stored_stays_out_of_search_and_a_retry_begins_anew(house: StoreHouse) -> None:
    # The first parts of a cancelled document were found and cited for ever.
    add(house, "d")
    house.store(lease(house), part("harbour ", 0), checkpoint="one part")
    assert found(house, "harbour")
    cancelled = house.do(c.CancelJob, job_id="job-d")
    assert found(house, "harbour") == ()
    assert house.rows("SELECT count(*) FROM vectors") == [(0,)]
    assert house.rows("SELECT op FROM changes WHERE entity = 'passages' ORDER BY seq") == [("set",), ("set",)]
    assert house.ask(fulltext.vector_head, "ana", "ana-home") > 0
    assert cancelled.checkpoint is None

    retried = house.do(c.RetryJob, job_id="job-d")
    assert (retried.state, retried.attempts) == ("queued", 1), "a retry begins the work again, not the count of its beginnings"
    again = lease(house)
    assert (again.checkpoint, again.attempts) == (None, 2)
    house.store(again, part("harbour ", 0), part("lights", 8, last=True))
    assert house.ask(reading.document_text, "ana", "d", 0, None).text == "harbour lights"


def test_a_job_cancelled_before_it_stored_anything_takes_nothing_away(house: StoreHouse) -> None:
    add(house, "d", external_id="e")
    house.store(lease(house), part("harbour", 0, last=True))
    add(house, "d2", external_id="e")
    house.do(c.CancelJob, job_id="job-d2")
    assert found(house, "harbour")


def test_an_old_job_does_not_go_on_behind_what_is_gone(house: StoreHouse) -> None:
    # A job kept its checkpoint when a later one began the document anew; tried again, it added its second part to that.
    add(house, "d")
    old = lease(house)
    house.store(old, part("one ", 0), checkpoint="one part")
    house.system(c.FinishJob, job_id=old.id, lease_token=old.lease_token, state="failed", reason="why")
    add(house, "d3", blob_hash="blob of d")
    house.store(lease(house), part("another ", 0), checkpoint="one part")
    house.do(c.CancelJob, job_id="job-d3")
    assert house.do(c.RetryJob, job_id="job-d").checkpoint is None


def test_a_part_that_does_not_follow_what_is_stored_is_refused(house: StoreHouse) -> None:
    add(house, "d")
    job = lease(house)
    house.store(job, part("harbour ", 0))
    for stray in (part("lights", 3), part("lights", 7)):
        with pytest.raises(InvalidRequest, match="does not follow the 8 characters"):
            house.store(job, stray)
    house.store(job, part("lights", 8, last=True))


def test_a_shared_document_outlives_the_project_through_which_it_is_being_indexed(house: StoreHouse) -> None:
    # Its job was cancelled with the project, and the document stayed queued for ever in the other one.
    house.do(c.CreateProject, project_id="second", name="second")
    add(house, "d")
    house.do(c.LinkDocument, document_id="d", project_id="second")
    old = lease(house)
    house.store(old, part("harbour ", 0), checkpoint="one part")
    house.do(c.DeleteProject, project_id="ana-home")
    with pytest.raises(LeaseLost):
        house.store(old, part("lights", 8))
    again = lease(house)
    assert (again.id, again.project_id, again.checkpoint) == ("job-d", "second", "one part")
    house.store(again, part("lights", 8, last=True))
    house.system(c.FinishJob, job_id=again.id, lease_token=again.lease_token, state="done")
    assert house.ask(reading.find_document, "ana", "d").state == "indexed"
    assert found(house, "lights", "second")


def test_a_job_that_failed_is_tried_again_in_a_project_that_is_left(house: StoreHouse) -> None:
    # It kept the name of the deleted project and failed at its first part, however often it was tried.
    house.do(c.CreateProject, project_id="second", name="second")
    add(house, "d")
    house.do(c.LinkDocument, document_id="d", project_id="second")
    first = lease(house)
    house.system(c.FinishJob, job_id=first.id, lease_token=first.lease_token, state="failed", reason="why")
    house.do(c.DeleteProject, project_id="ana-home")
    assert house.do(c.RetryJob, job_id="job-d").project_id == "second"
    house.store(lease(house), part("harbour", 0, last=True))
    assert found(house, "harbour", "second")


def test_lines_of_a_deleted_project_are_not_tried_again(house: StoreHouse) -> None:
    # They were queued, leased, and failed: what they would have been stored in is gone, and so is their file.
    house.do(c.CreateProject, project_id="p", name="p")
    job = house.lines(project_id="p")
    house.do(c.DeleteProject, project_id="p")
    ended = house.ask(reading.find_job, "ana", job.id)
    assert (ended.state, ended.reason, ended.code) == ("cancelled", "the project was deleted", "deleted")
    with pytest.raises(NotFound, match="project"):
        house.do(c.RetryJob, job_id=job.id)


def test_a_conversation_that_loses_its_project_is_in_the_feed(house: StoreHouse) -> None:
    house.do(c.CreateProject, project_id="p", name="p")
    house.do(c.CreateConversation, conversation_id="talk", project_id="p")
    head = house.writer.head
    house.do(c.DeleteProject, project_id="p")
    assert house.rows("SELECT op FROM changes WHERE seq > ? AND entity = 'conversation' AND id = 'talk'", head) == [("update",)]


def test_a_line_is_in_the_project_it_was_added_to_though_its_document_had_left(house: StoreHouse) -> None:
    # The line's document is known by its id: it was replaced where it was, and its own project stayed without it.
    house.do(c.CreateProject, project_id="second", name="second")
    job = house.lines()
    house.store(job, passage("a", "old words"))
    house.do(c.LinkDocument, document_id="doc-a", project_id="second")
    house.do(c.UnlinkDocument, document_id="doc-a", project_id="ana-home")
    house.store(job, passage("a", "new words"))
    assert house.ask(reading.find_document, "ana", "doc-a").project_ids == ("ana-home", "second")
    assert found(house, "new") == found(house, "new", "second") != ()
    assert house.rows("SELECT documents, chunks FROM projects WHERE user_id = 'ana'") == [(1, 1), (1, 1)]


def test_a_line_that_takes_a_files_place_ends_the_work_on_the_file(house: StoreHouse) -> None:
    # The file's job went on and added its next part to the line's text; the same file again was taken for what is stored.
    add(house, "d", external_id="e", blob_hash="blob")
    file_job = lease(house)
    house.store(file_job, part("harbour ", 0, external_id="e"), checkpoint="one part")
    lines = house.lines()
    house.store(lines, passage("e", "a line"))
    with pytest.raises(LeaseLost):
        house.store(file_job, part("lights", 8))
    assert house.ask(reading.document_text, "ana", "d", 0, None).text == "a line"
    assert house.ask(reading.find_document, "ana", "d").blob_hash is None
    again = add(house, "d4", external_id="e", blob_hash="blob")
    assert not again.existing
    assert again.job is not None


def test_a_deleted_documents_file_is_named_no_more(house: StoreHouse) -> None:
    # The row of its job named it for ever, and no sweep removed what its owner had deleted.
    add(house, "d", blob_hash="file")
    job = lease(house)
    house.system(c.FinishJob, job_id=job.id, lease_token=job.lease_token, state="done")
    add(house, "other", blob_hash="waiting")
    lines = house.lines()
    assert house.ask(reading.blob_hashes) == {"file", "waiting", lines.blob_hash}
    house.do(c.DeleteDocument, document_id="d")
    house.system(c.FinishJob, job_id=lines.id, lease_token=lines.lease_token, state="done")
    assert house.ask(reading.blob_hashes) == {"waiting", lines.blob_hash}
    house.do(c.DeleteProject, project_id="ana-home")
    assert house.ask(reading.blob_hashes) == frozenset()


def test_nobody_is_called_system_and_nobody_makes_keys_for_others(house: StoreHouse) -> None:
    with pytest.raises(InvalidRequest, match="system"):
        house.system(c.CreateUser, new_user_id=c.SYSTEM_USER, name="x")
    key = {"key_id": "k", "key_hash": "0" * 64, "label": "k", "scopes": ("read",)}
    with pytest.raises(NotFound):
        house.do(c.CreateKey, user_id="bob", for_user_id="ana", **key)
    assert house.do(c.CreateKey, for_user_id="ana", **key).user_id == "ana"


def test_counts_of_words_survive_another_thread_that_begins_them_anew(house: StoreHouse) -> None:
    # Between writing a count down and reading it, another thread could forget them all: the search ended with a KeyError.
    counts = WordCounts()

    class Forgotten(dict[str, int]):
        def __setitem__(self, term: str, count: int) -> None:
            super().__setitem__(term, count)
            counts._counts = {}

    counts._counts = Forgotten()
    house.store(house.lines(), passage("a", "word"))
    assert house.ask(counts.of, "word", house.writer.head) == 1
