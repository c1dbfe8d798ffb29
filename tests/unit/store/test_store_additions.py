"""A command of many documents: it is stored as one command for each would be, and asks little of the database for each."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.store import fulltext
from perenne.messages import commands as c
from perenne.messages.search import Filters
from tests.unit.store.store_house import StoreHouse, passage, unit


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path / "one").people()
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path / "other").people()
    yield made
    made.close()


def some_lines(chance: random.Random, count: int) -> list[c.IndexedDocument]:
    """Lines that come again under the same id, under the same name, or under another name, whole or in two parts."""
    made: list[c.IndexedDocument] = []
    for n in range(count):
        named: dict[str, Any] = {
            "external_id": chance.choice(["e0", "e1", "e2", "e3", None]),
            "title": chance.choice(["", f"title {n}"]),
            "language": chance.choice([None, "en", "es"]),
            "pages": chance.choice([None, 3]),
        }
        text = f"word{n} {chance.choice(['harbour', 'lights'])} "
        first = passage(str(chance.randrange(8)), text, chance.choice([b"", unit(1, n)]), **named)
        if chance.random() < 0.3:
            rest = c.NewChunk(ordinal=1, text="the rest", start=len(text), end=len(text) + 8)
            made.append(replace(first, last=False))
            made.append(replace(first, text="the rest", chunks=(rest,), vectors=b"", first=False))
        else:
            made.append(first)
    return made


def all_rows(house: StoreHouse) -> dict[str, list[tuple[Any, ...]]]:
    """What is kept of documents, without what is of the commands themselves."""
    asked = {
        "documents": "*", "document_projects": "*", "document_texts": "*", "chunks": "*", "projects": "id, documents, chunks",
        "vectors": "space, chunk_id, document_id, data",
    }  # fmt: skip
    found = {table: sorted(house.rows(f"SELECT {columns} FROM {table}"), key=str) for table, columns in asked.items()}
    told = house.rows("SELECT entity, id, op, user_id FROM changes WHERE entity <> 'job' ORDER BY seq")
    touched = house.rows("SELECT entity, id, op FROM changes WHERE seq = (SELECT max(vector_seq) FROM projects)")
    return found | {"changes": told, "touched": touched}


@pytest.mark.parametrize("seed", range(6))
def test_a_command_of_many_documents_stores_what_a_command_for_each_of_them_would(
    house: StoreHouse, other: StoreHouse, seed: int
) -> None:
    lines = some_lines(random.Random(seed), 30)
    together, alone = house.lines(job_id="job"), other.lines(job_id="job")
    for at in range(0, len(lines), 12):
        house.store(together, *lines[at : at + 12])
    for each in lines:
        other.store(alone, each)
    assert all_rows(house) == all_rows(other)
    for made in (house, other):
        hits = made.rows("SELECT count(*) FROM chunks WHERE text LIKE ?", "%harbour%")
        found = made.ask(fulltext.search_text, fulltext.WordCounts(), "ana", None, "harbour", 100, Filters())
        assert (len(found.ids),) == hits[0]


def statements(house: StoreHouse, patch: pytest.MonkeyPatch) -> list[str]:
    """What the writer asks of the database from now on; full text's rows are SQLite's own affair."""
    asked: list[str] = []
    if house.path.exists():
        raw: Any = house.writer._connection().connection.driver_connection
        raw.set_trace_callback(lambda sql: None if sql.startswith("--") or "chunk_terms" in sql else asked.append(sql))
        return asked
    import psycopg

    for name in ("execute", "executemany"):
        own = getattr(psycopg.Cursor, name)

        def told(self: Any, sql: Any, *values: Any, own: Any = own, **more: Any) -> Any:
            asked.append(str(sql))
            return own(self, sql, *values, **more)

        patch.setattr(psycopg.Cursor, name, told)
    return asked


def test_a_line_more_asks_nothing_more_of_the_database(house: StoreHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each line was looked up, made, linked, emptied, filled and counted by itself: 20 statements, and a round trip each.
    job = house.lines()
    lines = [passage(f"d{n}", f"the text of {n}", unit(1, n)) for n in range(66)]
    house.store(job, lines[0])
    asked = statements(house, monkeypatch)
    house.store(job, lines[1])
    one = len(asked)
    asked.clear()
    house.store(job, *lines[2:])
    assert len(asked) <= one + 3, "64 lines announce so many changes that they take some statements more"
    assert one <= 32, asked


def test_a_document_of_many_passages_takes_few_statements(house: StoreHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    job = house.lines()
    texts = [f"passage {n} of many " for n in range(200)]
    spans = [sum(map(len, texts[:n])) for n in range(201)]
    chunks = tuple(c.NewChunk(ordinal=n, text=text, start=spans[n], end=spans[n + 1]) for n, text in enumerate(texts))
    vectors = b"".join(unit(1, n) for n in range(200))
    whole = c.IndexedDocument(document_id="d", title="many", text="".join(texts), chunks=chunks, vectors=vectors)
    house.store(job, passage("before", "a text", unit(1, 0)))
    asked = statements(house, monkeypatch)
    house.store(job, whole)
    assert len(asked) <= 36, asked
    assert house.rows("SELECT count(*), max(ordinal) FROM chunks WHERE document_id = 'd'") == [(200, 199)]
