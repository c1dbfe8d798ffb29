"""The reader itself: how long a question may take, and what it cannot be asked."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from actors.store import reading, talks
from actors.store.database import writing_engine
from actors.store.reader import ReaderCore
from perenne.errors import DeadlineExceeded, InvalidRequest
from perenne.messages import commands as c
from tests.unit.store.store_house import StoreHouse

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path).people()
    yield made
    made.close()


@pytest.fixture
def reader(house: StoreHouse) -> Iterator[ReaderCore]:
    """One thread, and questions that may take a fifth of a second."""
    made = ReaderCore(house.url, threads=1, longest_s=0.2)
    made.open()
    yield made
    made.close()


def count_for_ever(conn: Connection) -> Any:
    return conn.exec_driver_sql(ENDLESS).scalar()


def session_of(conn: Connection) -> int:
    return id(conn.connection.driver_connection)


def test_a_question_that_would_run_for_minutes_ends_at_its_deadline_and_frees_its_thread(
    house: StoreHouse, reader: ReaderCore
) -> None:
    # Its caller was answered, and the thread went on: four such questions, and nobody could ask anything any more.
    before = reader.submit(session_of).result(5)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"count_for_ever did not answer within 0\.2 s"):
        reader.submit(count_for_ever).result(20)
    assert time.monotonic() - began < 5
    assert [user.id for user in reader.submit(reading.list_users).result(5)] == ["ana", "bob"]
    assert reader.submit(session_of).result(5) == before, "the connection is as good as before"
    raw: Any = house.writer._connection().connection.driver_connection
    if house.path.exists():
        assert raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, "its moment of the database is let go of"


def test_a_question_that_waited_too_long_for_a_thread_is_not_begun(reader: ReaderCore) -> None:
    first, second = reader.submit(count_for_ever), reader.submit(count_for_ever)
    began = time.monotonic()
    for answered in (first, second):
        with pytest.raises(DeadlineExceeded):
            answered.result(20)
    assert time.monotonic() - began < 5


def test_a_question_is_not_ended_by_the_deadline_of_the_one_before(reader: ReaderCore) -> None:
    with pytest.raises(DeadlineExceeded):
        reader.submit(count_for_ever).result(20)
    counted = reader.submit(
        lambda conn: conn.exec_driver_sql(f"{ENDLESS.replace('FROM n)', 'FROM n WHERE i < 50000)')}").scalar()
    )
    assert counted.result(5) == 50_000


@pytest.mark.parametrize("after", [1 << 70, -(1 << 70)])
def test_what_no_database_can_be_asked_for_is_the_callers_fault(house: StoreHouse, after: int) -> None:
    # It was an error of ours, with a trace in the log and a 500 at the edge.
    with pytest.raises(InvalidRequest, match="cannot be asked"):
        house.ask(lambda conn: conn.execute(talks._EVENTS, {"id_": "run", "after_": after, "limit_": 1}).all())
    with pytest.raises(InvalidRequest, match="cannot be asked"):
        house.ask(reading.find_project, "ana", "half a sign \ud83d")


def test_passages_are_looked_up_by_their_ids_however_many_documents_their_user_has(house: StoreHouse) -> None:
    # A search over 4,000 documents spent 5.7 of its 23 ms walking through all of them for the 120 passages that it wanted.
    if not house.path.exists():
        pytest.skip("the plans of PostgreSQL follow its statistics")

    def plan(conn: Connection) -> str:
        asked: list[tuple[str, Any]] = []

        @event.listens_for(conn, "before_cursor_execute")
        def keep(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        reading.find_chunks(conn, "ana", (1, 2, 3), "prj_1")
        (statement, parameters), *_ = asked
        return " ".join(row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))

    told = house.ask(plan)
    assert "INTEGER PRIMARY KEY (rowid=?)" in told
    assert "user_id" not in told, told
    assert "LIST SUBQUERY" not in told, told


MANY, OLD = 20_000, 1_000
_MANY_DOCUMENTS = """
INSERT INTO documents (id, user_id, title, state, created_at, updated_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many)
SELECT 'doc-' || (i * 7919 % 20011), 'ana', 'the title of ' || i, CASE WHEN i % 2000 = 1 THEN 'failed' ELSE 'indexed' END, i, i FROM n
"""
# The oldest are in the one project, all newer ones in the other.
_IN_PROJECTS = """
INSERT INTO document_projects (project_id, document_id, created_at)
SELECT CASE WHEN created_at <= :old THEN 'old' ELSE 'ana-home' END, id, created_at FROM documents
"""


@pytest.fixture
def many(house: StoreHouse) -> StoreHouse:
    house.do(c.CreateProject, project_id="old", name="old")
    with writing_engine(house.url).connect() as conn, conn.begin():
        conn.execute(text(_MANY_DOCUMENTS), {"many": MANY})
        conn.execute(text(_IN_PROJECTS), {"old": OLD})
    if not house.path.exists():  # as the server does by itself after so many rows
        with writing_engine(house.url).connect() as conn, conn.begin():
            conn.exec_driver_sql("ANALYZE")
    return house


def rows_read(node: dict[str, Any]) -> int:
    """The most rows that one part of a plan of PostgreSQL's went through."""
    own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return max([own, *(rows_read(each) for each in node.get("Plans", []))])


def asked_of(conn: Connection, state: str | None, after: str | None) -> tuple[str, Any]:
    """What the page of the old project's documents asks the database, and with which values."""
    kept: list[tuple[str, Any]] = []

    class Asked(reading.Prepared):
        def all(self, conn: Connection, *values: Any) -> list[Any]:
            compiled = self._for(conn)
            kept.append((compiled.sql, self._values(compiled, values)))
            return super().all(conn, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "Prepared", Asked)
        reading._documents.cache_clear()
        reading.list_documents(conn, "ana", "old", state, 50, after)
    reading._documents.cache_clear()
    return kept[0]


def test_a_page_of_a_project_reads_none_of_the_newer_documents_that_its_user_has_in_others(many: StoreHouse) -> None:
    # Of 100,000 documents it read 98,000 to show the 50 newest of an old project: 40 ms on SQLite, 140 ms on PostgreSQL.
    first = many.ask(reading.list_documents, "ana", "old", None, 50, None)
    assert [each.created_at for each in first.items] == list(range(OLD, OLD - 50, -1))
    second = many.ask(reading.list_documents, "ana", "old", None, 50, first.next)
    assert [each.created_at for each in second.items] == list(range(OLD - 50, OLD - 100, -1))
    assert [each.created_at for each in many.ask(reading.list_documents, "ana", "old", "failed", 50, first.next).items] == [1]

    def read(conn: Connection, state: str | None, after: str | None) -> Any:
        statement, values = asked_of(conn, state, after)
        if conn.dialect.name == "sqlite":
            return " ".join(row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values))
        return conn.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).scalar_one()[0]["Plan"]

    for state, after in itertools.product((None, "indexed", "failed"), (None, first.next)):
        told = many.ask(read, state, after)
        if many.path.exists():
            index = "not_indexed" if state == "failed" else "document_projects_project_id_created_at_document_id"
            assert index in told, (told, state, after)
            assert "TEMP B-TREE" not in told, (told, state, after)
        else:  # few as they are, it may as well sort them
            assert rows_read(told) <= OLD, (told, state, after)
