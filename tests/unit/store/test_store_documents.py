"""Documents, jobs and what makes them findable."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.store import feed, fulltext, reading
from perenne.errors import Conflict, InvalidRequest, LeaseLost, NotFound
from perenne.messages import commands as c
from perenne.messages.search import FeedItem, Filters, ShardQuery
from tests.unit.store.store_house import SPACE, StoreHouse, passage, unit


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path).people()
    yield made
    made.close()


def add(house: StoreHouse, name: str, blob: str = "blob", user_id: str = "ana", **fields: object) -> c.DocumentAdded:
    given = {"project_id": f"{user_id}-home", "title": name, "size_bytes": 3} | fields
    return house.do(c.AddDocument, user_id, document_id=name, job_id=f"job-{name}", blob_hash=blob, **given)


def lease(house: StoreHouse, **fields: object) -> tuple[c.Job, ...]:
    given = {"worker": "w", "limit": 10, "lease_s": 30} | fields
    return house.system(c.LeaseJobs, **given)


def found(
    house: StoreHouse, query: str, user_id: str = "ana", project_id: str | None = None, **filters: tuple[str, ...]
) -> list[str]:
    hits = house.ask(fulltext.search_text, house.reader.counted, user_id, project_id, query, 10, Filters(**filters))
    return [chunk.external_id for chunk in house.ask(reading.find_chunks, user_id, hits.ids).chunks]


def counters(house: StoreHouse, project_id: str) -> tuple[int, int]:
    kept = house.rows("SELECT documents, chunks FROM projects WHERE id = ?", project_id)[0]
    counted = house.rows(
        "SELECT count(*), coalesce(sum(d.chunks), 0) FROM document_projects p JOIN documents d ON d.id = p.document_id "
        "WHERE p.project_id = ?",
        project_id,
    )[0]
    assert kept == counted
    real = house.rows(
        "SELECT count(*) FROM chunks c JOIN document_projects p ON p.document_id = c.document_id WHERE p.project_id = ?",
        project_id,
    )[0]
    assert kept[1] == real[0]
    return kept[0], kept[1]


def test_the_same_file_twice_is_one_document(house: StoreHouse) -> None:
    first, again = add(house, "d1"), add(house, "d2")
    assert (first.existing, again.existing) == (False, True)
    assert again.document == first.document
    assert first.job is not None
    assert again.job is None
    assert add(house, "d3", user_id="bob").document.id == "d3"


def test_a_refused_file_is_queued_again_when_it_is_added_again(house: StoreHouse) -> None:
    add(house, "d1")
    (job,) = lease(house)
    why: dict[str, Any] = {"reason": "it has 9 pages", "code": "too_many_pages", "details": {"count": 9, "limit": 5}}
    ended = house.system(c.FinishJob, job_id=job.id, lease_token=job.lease_token, state="refused", **why)
    for told in (ended, house.ask(reading.find_document, "ana", "d1")):
        assert {"reason": told.reason, "code": told.code, "details": told.details} == why
    again = add(house, "d2")
    assert again.existing
    assert again.document.id == "d1"
    assert again.document.state == "queued"
    (job,) = lease(house)
    assert job.id == "job-d2"


def test_an_external_id_with_another_file_replaces_what_the_document_held(house: StoreHouse) -> None:
    add(house, "d1", external_id="e")
    (old,) = lease(house)
    again = add(house, "d2", blob="other", external_id="e")
    assert not again.existing
    assert again.document.id == "d1"
    assert again.document.blob_hash == "other"
    with pytest.raises(LeaseLost):
        house.store(old, passage("e", "text"))
    assert [job.id for job in lease(house)] == ["job-d2"]


def test_a_lease_is_one_holders_until_it_ends(house: StoreHouse) -> None:
    add(house, "d1")
    (first,) = lease(house, worker="one")
    assert lease(house, worker="two") == ()
    (own,) = lease(house, worker="one", take_back=True)
    assert own.lease_token != first.lease_token
    house.clock.advance(31)
    (taken,) = lease(house, worker="two")
    assert taken.attempts == 3
    with pytest.raises(LeaseLost):
        house.system(c.RenewJob, job_id=own.id, lease_token=own.lease_token, lease_s=30, done=1)
    renewed = house.system(c.RenewJob, job_id=own.id, lease_token=taken.lease_token, lease_s=60, done=5, total=9)
    assert (renewed.done, renewed.total, renewed.lease_until) == (5, 9, house.clock.now() + 60)


@pytest.mark.parametrize("years", [1, -1])
def test_a_clock_that_was_wrong_holds_no_job_back(house: StoreHouse, years: int) -> None:
    """Set back after a lease or a delay, it left the job to nobody for years."""
    add(house, "d1")
    add(house, "d2", blob="other")
    leased, given_back = lease(house, limit=2)
    house.system(c.ReleaseJob, job_id=given_back.id, lease_token=given_back.lease_token, delay_s=10, reason="no embedder")
    assert lease(house, worker="two") == ()
    house.clock.set(years * 365 * 86_400.0)
    assert {job.id for job in lease(house, worker="two", limit=2)} == {leased.id, given_back.id}


def test_asking_for_a_lease_again_gives_the_same_lease(house: StoreHouse) -> None:
    add(house, "d1")
    ask = c.LeaseJobs(command_id="same", user_id=c.SYSTEM_USER, worker="w", limit=1, lease_s=30)
    first, again = house.send(ask)[0].value, house.send(ask)[0].value
    assert first == again
    assert again[0].lease_token is not None


def test_a_released_job_waits_and_keeps_its_checkpoint(house: StoreHouse) -> None:
    job = house.lines()
    house.store(job, passage("a", "one"), checkpoint="line 1")
    house.system(c.ReleaseJob, job_id=job.id, lease_token=job.lease_token, delay_s=10, reason="no embedder")
    assert lease(house) == ()
    house.clock.advance(11)
    assert [each.checkpoint for each in lease(house)] == ["line 1"]


def test_a_cancelled_job_is_lost_to_its_holder_and_can_be_tried_again(house: StoreHouse) -> None:
    add(house, "d1")
    (job,) = lease(house)
    assert house.do(c.CancelJob, job_id=job.id).state == "cancelled"
    with pytest.raises(LeaseLost):
        house.system(c.FinishJob, job_id=job.id, lease_token=job.lease_token, state="done")
    document = house.ask(reading.find_document, "ana", "d1")
    assert (document.state, document.reason) == ("failed", "cancelled")
    assert house.do(c.RetryJob, job_id=job.id).state == "queued"
    with pytest.raises(Conflict):
        house.do(c.RetryJob, job_id=job.id)


def part(text: str, at: int, **fields: Any) -> c.IndexedDocument:
    """A stretch of the line "long", with one passage."""
    chunk = c.NewChunk(ordinal=at, text=text, start=at, end=at + len(text))
    return c.IndexedDocument(
        document_id="doc-long", external_id="long", title="T", text=text, chunks=(chunk,), vectors=unit(1, 0), **fields
    )


def test_a_long_line_fails_with_its_job_and_is_gone_on_with_when_that_is_tried_again(house: StoreHouse) -> None:
    job = house.lines()
    house.store(job, part("hello", 0, last=False), checkpoint="part 1")
    house.system(c.FinishJob, job_id=job.id, lease_token=job.lease_token, state="failed", reason="no engine")
    document = house.ask(reading.find_document, "ana", "doc-long")
    assert (document.state, document.reason, document.code) == ("failed", "no engine", "internal")
    house.do(c.RetryJob, job_id=job.id)
    document = house.ask(reading.find_document, "ana", "doc-long")
    assert (document.state, document.reason, document.code) == ("queued", None, None)
    (again,) = lease(house)
    assert (again.checkpoint, again.open_document_id) == ("part 1", "doc-long")
    house.store(again, part("world", 5, first=False))
    assert house.ask(reading.find_document, "ana", "doc-long").state == "indexed"
    assert house.ask(reading.document_text, "ana", "doc-long", 0, None).text == "helloworld"


def test_a_file_that_takes_the_place_of_a_long_line_is_left_alone_by_the_rest_of_it(house: StoreHouse) -> None:
    job = house.lines()
    house.store(job, part("hello", 0, last=False))
    add(house, "d9", external_id="long")
    house.store(job, part("world", 5, first=False))
    document = house.ask(reading.find_document, "ana", "doc-long")
    assert (document.state, document.characters) == ("queued", 5)


def test_parts_become_one_document_and_a_new_first_part_replaces_them(house: StoreHouse) -> None:
    add(house, "d1")
    (job,) = lease(house)
    first = c.IndexedDocument(
        document_id="d1",
        title="T",
        text="hello ",
        chunks=(c.NewChunk(ordinal=0, text="hello", start=0, end=5, page=1),),
        vectors=unit(1, 0),
        last=False,
    )
    house.store(job, first)
    assert house.ask(reading.find_document, "ana", "d1").state == "indexing"
    second = c.IndexedDocument(
        document_id="d1",
        title="T",
        text="world",
        chunks=(c.NewChunk(ordinal=1, text="world", start=6, end=11, page=2),),
        vectors=unit(0, 1),
        first=False,
    )
    house.store(job, second)
    document = house.ask(reading.find_document, "ana", "d1")
    assert (document.state, document.chunks, document.characters) == ("indexed", 2, 11)
    assert house.ask(reading.document_text, "ana", "d1", 3, 9).text == "lo wor"
    assert house.ask(reading.document_text, "ana", "d1", 7, None).page == 2
    assert counters(house, "ana-home") == (1, 2)
    house.store(job, c.IndexedDocument(document_id="d1", title="T", text="anew", chunks=(), vectors=b""))
    assert house.ask(reading.document_text, "ana", "d1", 0, None).text == "anew"
    assert counters(house, "ana-home") == (1, 0)
    assert house.rows("SELECT count(*) FROM vectors") == [(0,)]
    assert house.ask(fulltext.search_text, house.reader.counted, "ana", None, "hello", 5, Filters()).ids == ()


def test_a_known_external_id_keeps_its_document(house: StoreHouse) -> None:
    job = house.lines()
    house.store(job, passage("a", "old words"))
    other = c.IndexedDocument(
        document_id="another-id",
        external_id="a",
        title="t",
        text="new words",
        chunks=passage("a", "new words").chunks,
        vectors=b"",
    )
    house.store(job, other)
    assert house.rows("SELECT id FROM documents") == [("doc-a",)]
    assert found(house, "new") == ["a"]
    assert found(house, "old") == []


def test_a_word_that_stood_nowhere_is_found_as_soon_as_it_stands_somewhere(house: StoreHouse) -> None:
    # The count of none was remembered, and the word left out of every search for the next 2,000 changes.
    assert found(house, "harbour") == []
    house.store(house.lines(), passage("a", "the harbour"))
    assert found(house, "harbour") == ["a"]


def test_a_nul_is_kept_as_the_sign_for_what_cannot_be_kept(house: StoreHouse) -> None:
    # PostgreSQL refuses it in any text, SQLite does not: a document that one keeps, the other would not.
    job = house.lines()
    house.store(job, passage("a\0b", "the har\0bour \\u0000 lights"))
    (document,) = house.ask(reading.list_documents, "ana", None, None, 10, None).items
    assert (document.external_id, document.title) == ("a\ufffdb", "title of a\ufffdb")
    assert house.ask(reading.document_text, "ana", document.id, 0, None).text == "the har\ufffdbour \\u0000 lights"
    assert found(house, "lights", external_ids=("a\0b",)) == ["a\ufffdb"]
    assert house.do(c.CreateProject, project_id="p", name="n\0").name == "n\ufffd"
    assert house.ask(reading.find_project, "ana", "n\0").id == "p"
    with pytest.raises(NotFound):
        house.ask(reading.find_project, "ana", "other\0")
    with pytest.raises(InvalidRequest, match="NUL"):
        house.do(c.CreateProject, command_id="x\0", project_id="q", name="q")


@pytest.mark.parametrize(
    "broken",
    [
        passage("a", "text", b"\0" * 7),
        passage("a", "text", unit(1, 0, 0)),
        c.IndexedDocument(
            document_id="x", title="t", text="ab", chunks=(c.NewChunk(ordinal=0, text="abc", start=0, end=3),), vectors=b""
        ),
    ],
)
def test_what_does_not_fit_is_refused_whole(house: StoreHouse, broken: c.IndexedDocument) -> None:
    job = house.lines()
    house.store(job, passage("first", "fine", unit(1, 0)))
    with pytest.raises(InvalidRequest):
        house.store(job, passage("b", "also fine", unit(0, 1)), broken)
    assert counters(house, "ana-home") == (1, 1)


def test_a_document_in_two_projects_survives_the_end_of_one(house: StoreHouse) -> None:
    house.do(c.CreateProject, project_id="second", name="second")
    job = house.lines()
    house.store(job, passage("both", "shared words", unit(1, 0)), passage("one", "lonely words", unit(0, 1)))
    assert house.do(c.LinkDocument, document_id="doc-both", project_id="second").project_ids == ("ana-home", "second")
    assert counters(house, "second") == (1, 1)
    house.do(c.DeleteProject, project_id="ana-home")
    assert counters(house, "second") == (1, 1)
    assert found(house, "words") == ["both"]
    assert house.rows("SELECT document_id FROM vectors") == [("doc-both",)]
    with pytest.raises(Conflict):
        house.do(c.UnlinkDocument, document_id="doc-both", project_id="second")
    house.do(c.DeleteDocument, document_id="doc-both")
    for table in ("documents", "chunks", "vectors", "document_texts", "document_projects"):
        assert house.rows(f"SELECT count(*) FROM {table}") == [(0,)]


def test_nothing_of_another_user_is_found_or_touched(house: StoreHouse) -> None:
    add(house, "d1")
    (own,) = lease(house)
    job = house.lines("bob")
    house.store(job, passage("b", "secret words of bob", unit(1, 0)))
    assert found(house, "secret words", "ana") == []
    assert found(house, "secret words", "bob") == ["b"]
    (chunk_id,) = house.rows("SELECT id FROM chunks")[0]
    assert house.ask(reading.find_chunks, "ana", (chunk_id,)).chunks == ()
    query = ShardQuery(vector=unit(1, 0), k=5, user_id="ana", project_ids=("bob-home",))
    assert house.ask(feed.scan, "ana", SPACE, query, 0).ids == ()
    questions = [
        (reading.find_document, ("doc-b",)),
        (reading.find_job, (job.id,)),
        (reading.find_project, ("bob-home",)),
        (reading.document_text, ("doc-b", 0, None)),
        (reading.neighbours, (chunk_id, 1, 1)),
        (reading.list_documents, ("bob-home", None, 10, None)),
    ]
    for question, arguments in questions:
        with pytest.raises(NotFound):
            house.ask(question, "ana", *arguments)
    with pytest.raises(NotFound):
        found(house, "secret", "ana", "bob-home")
    commands = [
        (c.DeleteProject, {"project_id": "bob-home"}),
        (c.RenameProject, {"project_id": "bob-home", "name": "mine"}),
        (c.DeleteDocument, {"document_id": "doc-b"}),
        (c.LinkDocument, {"document_id": "doc-b", "project_id": "ana-home"}),
        (c.LinkDocument, {"document_id": "d1", "project_id": "bob-home"}),
        (c.UnlinkDocument, {"document_id": "doc-b", "project_id": "bob-home"}),
        (c.CancelJob, {"job_id": job.id}),
        (c.RetryJob, {"job_id": job.id}),
        (c.AddJsonLines, {"job_id": "j", "project_id": "bob-home", "blob_hash": "b", "size_bytes": 1}),
        (c.CreateConversation, {"conversation_id": "x", "project_id": "bob-home"}),
    ]
    for kind, fields in commands:
        with pytest.raises(NotFound):
            house.do(kind, **fields)
    with pytest.raises(NotFound):
        house.store(own, passage("stolen", "words"), project_id="bob-home")
    assert found(house, "secret words", "bob") == ["b"]


def test_words_are_found_in_either_language_with_accents_or_without(house: StoreHouse) -> None:
    job = house.lines()
    house.store(
        job,
        passage("es", "Las canciones de cuna más antiguas del niño", language="es"),
        passage("en", "The children's running shoes", language="en"),
        passage("fr", "L'homme à la caméra", language="fr"),
        passage("none", "Naïve façades were running"),
        passage("zh", "机器学习是人工智能"),
    )
    assert found(house, "cancion") == found(house, "CANCIÓN") == ["es"]
    assert found(house, "ninos") == ["es"]
    assert found(house, "child's shoe") == ["en"]
    assert set(found(house, "run")) == {"en", "none"}
    assert found(house, "homme") == ["fr"]
    assert found(house, "facade") == ["none"]
    assert found(house, "人工智能") == ["zh"]
    assert found(house, "running", languages=("en",)) == ["en"]
    assert found(house, "running", external_ids=("none",)) == ["none"]
    assert found(house, "running", document_ids=("doc-en",)) == ["en"]
    assert found(house, "the") == ["en"]
    assert found(house, "?!") == []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path_factory.mktemp("search")).people()
    made.store(made.lines(), passage("a", "near and far AND or NOT words* title:x"))
    yield made
    made.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(query=st.text(max_size=60) | st.text(alphabet="\"'*^:()-+{} ANDORNEAT\0", max_size=40))
def test_no_query_is_a_syntax_error(shared: StoreHouse, query: str) -> None:
    ids = shared.ask(fulltext.search_text, shared.reader.counted, "ana", None, query, 5, Filters()).ids
    assert len(ids) <= 1


class Follower:
    """A shard without vectors' order: what it holds after the feed."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[str, tuple[str, ...], bytes]] = {}
        self.at = 0

    def apply(self, item: FeedItem) -> None:
        assert item.seq > self.at
        self.at = item.seq
        if item.op in ("set", "delete"):
            self.held = {k: v for k, v in self.held.items() if v[0] != item.document_id}
        if item.op == "projects":
            self.held = {k: (d, item.project_ids if d == item.document_id else p, v) for k, (d, p, v) in self.held.items()}
        size = len(item.vectors) // max(1, len(item.chunk_ids))
        for n, chunk_id in enumerate(item.chunk_ids):
            self.held[chunk_id] = (item.document_id, item.project_ids, item.vectors[n * size : (n + 1) * size])

    def follow(self, house: StoreHouse, limit_bytes: int) -> None:
        while True:
            page = house.ask(feed.index_feed, SPACE, self.at, limit_bytes)
            for item in page.items:
                self.apply(item)
            self.at = page.upto
            if page.upto == page.head:
                return
            assert page.items


def truth(house: StoreHouse) -> dict[int, tuple[str, tuple[str, ...], bytes]]:
    rows = house.rows(
        "SELECT v.chunk_id, v.document_id, (SELECT string_agg(project_id, ',') FROM (SELECT project_id FROM document_projects p "
        "WHERE p.document_id = v.document_id ORDER BY project_id) AS held), v.data FROM vectors v"
    )
    return {row[0]: (row[1], tuple(row[2].split(",")), row[3]) for row in rows}


def test_whoever_follows_the_feed_holds_what_the_tables_hold(house: StoreHouse) -> None:
    house.do(c.CreateProject, project_id="second", name="second")
    job = house.lines()
    early, late = Follower(), Follower()
    for n in range(6):
        house.store(job, passage(f"d{n}", f"text {n}", unit(1, n)), passage("same", f"text {n}", unit(n, 1)))
        early.follow(house, 1)
    house.do(c.LinkDocument, document_id="doc-d1", project_id="second")
    house.do(c.DeleteDocument, document_id="doc-d2")
    early.follow(house, 10)
    late.follow(house, 300)
    assert early.held == late.held == truth(house)
    assert house.ask(fulltext.vector_head, "ana", "ana-home") <= house.writer.head
    assert house.ask(fulltext.vector_head, "bob", None) == 0


def test_a_scan_is_exact_and_sees_only_what_came_after(house: StoreHouse) -> None:
    job = house.lines()
    house.store(job, passage("old", "old", unit(1, 0)))
    seq = house.writer.head
    house.store(job, passage("near", "near", unit(1, 0.1), language="en"), passage("far", "far", unit(0.1, 1), language="es"))
    query = ShardQuery(vector=unit(1, 0), k=5, user_id="ana", project_ids=("ana-home",))
    hits = house.ask(feed.scan, "ana", SPACE, query, seq)
    names = [chunk.external_id for chunk in house.ask(reading.find_chunks, "ana", hits.ids).chunks]
    assert names == ["near", "far"]
    assert hits.scores[0] == pytest.approx(0.995, abs=1e-3)
    assert hits.applied_seq == house.writer.head
    only = ShardQuery(vector=unit(1, 0), k=5, user_id="ana", project_ids=("ana-home",), languages=("es",))
    assert len(house.ask(feed.scan, "ana", SPACE, only, 0).ids) == 1


def test_pages_show_everything_once(house: StoreHouse) -> None:
    job = house.lines()
    for n in range(7):
        house.store(job, passage(f"d{n}", "text"))
    seen: list[str] = []
    after: str | None = None
    while True:
        page = house.ask(reading.list_documents, "ana", "ana-home", None, 3, after)
        seen += [each.id for each in page.items]
        after = page.next
        if after is None:
            break
    assert sorted(seen) == [f"doc-d{n}" for n in range(7)]
    with pytest.raises(InvalidRequest):
        house.ask(reading.list_documents, "ana", None, None, 3, "nonsense")


@pytest.mark.parametrize("count", [1, 9, 10, 50, 99])
def test_a_page_of_any_length_says_of_each_document_in_which_projects_it_is(house: StoreHouse, count: int) -> None:
    house.do(c.CreateProject, project_id="other", name="other")
    in_other = house.lines(project_id="other")
    house.store(house.lines(), *(passage(f"d{n}", "text") for n in range(count)), passage("of another page", "text"))
    house.store(in_other, passage("d0", "text"), passage("elsewhere", "text"))
    both, home, other = ("ana-home", "other"), ("ana-home",), ("other",)
    for project, state in (("ana-home", None), ("ana-home", "indexed"), (None, "indexed"), (None, None)):
        found: dict[str, tuple[str, ...]] = {}
        after: str | None = None
        while not found or after is not None:
            page = house.ask(reading.list_documents, "ana", project, state, count, after)
            found |= {each.external_id: each.project_ids for each in page.items}
            after = page.next
        expected = {f"d{n}": home for n in range(count)} | {"d0": both, "of another page": home}
        assert found == (expected if project else expected | {"elsewhere": other})
    assert house.ask(reading.list_documents, "ana", "ana-home", "failed", count, None).items == ()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.sampled_from(["lease", "renew", "store", "finish", "fail", "release", "cancel", "retry", "later"]), max_size=14
    )
)
def test_a_job_ends_once_and_only_its_holder_moves_it(shared: StoreHouse, steps: list[str]) -> None:
    house = shared
    house.clock.advance(100_000)
    name = f"d{house.writer.head}"
    add(house, name, blob=name)
    token: str | None = None
    for step in steps:
        before = house.ask(reading.find_job, "ana", f"job-{name}")
        mine = {"job_id": before.id, "lease_token": token or "none"}
        try:
            if step == "lease":
                token = next((job.lease_token for job in lease(house, limit=100) if job.id == before.id), token)
            elif step == "renew":
                house.system(c.RenewJob, lease_s=30, done=1, **mine)
            elif step == "store":
                house.store(
                    replace(before, lease_token=token),
                    c.IndexedDocument(document_id=name, title="t", text="", chunks=(), vectors=b""),
                )
            elif step in ("finish", "fail"):
                house.system(c.FinishJob, state="done" if step == "finish" else "failed", reason="why", **mine)
            elif step == "release":
                house.system(c.ReleaseJob, delay_s=5, reason="later", **mine)
            elif step == "cancel":
                house.do(c.CancelJob, job_id=before.id)
            elif step == "retry":
                house.do(c.RetryJob, job_id=before.id)
            else:
                house.clock.advance(40)
            failed = False
        except Conflict:
            failed = True
        after = house.ask(reading.find_job, "ana", before.id)
        if failed:
            assert after == before
        begun = step == "lease" and after.lease_until is not None and after.updated_at == house.clock.now() and after != before
        assert after.attempts == before.attempts + begun, "counts on through retries"
        if before.state in ("done", "refused", "failed", "cancelled") and after.state != before.state:
            assert (step, after.state) == ("retry", "queued")
        assert (after.lease_until is not None) == (after.state == "running")
        document = house.ask(reading.find_document, "ana", name)
        assert (document.state in ("failed", "refused")) == (after.state in ("failed", "refused", "cancelled"))
