"""Every version's database with data in it, brought to the newest, and back by one version at a time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, Table, insert, inspect, select, text

from actors.store import fulltext, reading, talks
from actors.store import migrate as migrating
from actors.store.back import go_back
from actors.store.database import sqlite_path, writing_engine
from actors.store.lexicon import lexicon
from actors.store.migrate import _config, held_revision, migrate, migrate_back, wanted_revision
from actors.store.tables import metadata
from actors.store.terms import passage_terms
from perenne.errors import ConfigurationError, StorageFailed, Unavailable
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.messages.search import Filters
from perenne.settings import load_settings
from tests.unit.store import store_house
from tests.unit.store.store_house import StoreHouse, passage, unit

REVISIONS = [script.revision for script in reversed(list(ScriptDirectory.from_config(_config()).walk_revisions()))]

BLOB = hashlib.sha256(b"the file").hexdigest()

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    """One of each thing that is kept."""
    made = StoreHouse(tmp_path).people()
    made.do(c.CreateKey, key_id="k", for_user_id="ana", key_hash="a" * 64, label="first", scopes=("read",))
    job = made.lines()
    documents = (
        passage("a", "the harbour lights", unit(1, 0), language="en"),
        passage("b", "el barco azul", unit(0, 1), language="es"),
    )
    made.store(job, *documents)
    made.system(c.FinishJob, job_id=job.id, lease_token=job.lease_token, state="done", result={"chunks": 2})
    fields = {"project_id": "ana-home", "title": "d", "size_bytes": 3, "blob_hash": BLOB, "external_id": "e"}
    made.do(c.AddDocument, document_id="d", job_id="job-d", **fields)
    made.do(c.CancelJob, job_id="job-d")
    made.do(c.PostMessage, conversation_id="t", message_id="q", reply_id="r", run_id="u", text="why?")
    made.system(c.StartAttempt, run_id="u", host="h")
    made.do(c.PostMessage, conversation_id="t", message_id="q2", reply_id="r2", run_id="u2", text="and then?")
    made.close()
    yield made
    made.close()


def kept(conn: Connection) -> Rows:
    """Every row of ours, but what full text makes of them."""
    found: Rows = {}
    for name in inspect(conn).get_table_names():
        if not name.startswith(("chunk_terms", "alembic")):
            table = Table(name, MetaData(), autoload_with=conn)
            found[name] = sorted((dict(row._mapping) for row in conn.execute(select(table))), key=str)
    return found


def rows_of(url: str) -> Rows:
    with writing_engine(url).connect() as conn:
        return kept(conn)


def assert_same(found: Rows, before: Rows) -> None:
    """What is in both is the same: an older version has fewer columns and tables."""
    for name in found.keys() & before.keys():
        if name == "meta":
            continue  # the epoch is each writer's
        assert len(found[name]) == len(before[name]), name
        for one, other in zip(found[name], before[name], strict=True):
            for column in one.keys() & other.keys():
                assert one[column] == other[column], (name, column)


def older(row: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """What a table with these columns holds of a row. Of each question the fixture has one answer: none was replaced."""
    return {name: value for name, value in (row | {"superseded": False}).items() if name in names}


def made_at(revision: str, url: str, rows: Rows) -> None:
    """A database of that version, made by its migrations, with the rows that it can hold."""
    engine = writing_engine(url)
    with engine.connect() as conn, conn.begin():
        command.upgrade(_config(conn), revision)
        there = set(inspect(conn).get_table_names())
        for table in metadata.sorted_tables:
            if table.name in there and rows.get(table.name):
                held = Table(table.name, MetaData(), autoload_with=conn)
                names = {column.name for column in held.columns}
                conn.execute(insert(held), [older(row, names) for row in rows[table.name]])
        if "chunk_terms" in there:
            titles = {row["id"]: row["title"] for row in rows["documents"]}
            terms = [
                (
                    row["id"],
                    passage_terms(titles[row["document_id"]], row["language"]),
                    passage_terms(row["text"], row["language"]),
                )
                for row in rows["chunks"]
            ]
            lexicon(conn).remember(conn, terms)


def assert_works(house: StoreHouse) -> None:
    """It is read, searched and written."""
    said = house.ask(talks.list_messages, "ana", "t", 9, None).items
    assert [(each.id, each.parent_id) for each in said] == [("q", None), ("r", "q"), ("q2", "r"), ("r2", "q2")]
    assert house.ask(talks.find_conversation, "ana", "t").leaf_id == "r2"
    assert house.ask(reading.find_document, "ana", "doc-a").chunks == 1
    assert house.ask(reading.find_document, "ana", "d").reason == "cancelled"
    assert [event.kind for event in house.ask(talks.list_run_events, "ana", "u", 0, 9)] == []
    for query, document in (("harbour", "doc-a"), ("barcos", "doc-b")):
        hits = house.ask(fulltext.search_text, fulltext.WordCounts(), "ana", None, query, 5, Filters())
        assert [chunk.document_id for chunk in house.ask(reading.find_chunks, "ana", hits.ids).chunks] == [document]
    house.store(house.lines(job_id="after"), passage("c", "a new passage", unit(1, 1)))
    house.do(c.DeleteDocument, document_id="doc-b")


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_database_of_an_earlier_version_comes_to_this_one_with_all_that_is_in_it(
    house: StoreHouse, tmp_path: Path, revision: str
) -> None:
    before = rows_of(house.url)
    other = tmp_path / "other"
    (other / "store").mkdir(parents=True)
    url = store_house.empty_database(other)
    made_at(revision, url, before)
    engine = writing_engine(url)
    assert held_revision(engine) == revision
    migrate(engine, sqlite_path(url))
    assert held_revision(engine) == wanted_revision()
    assert_same(rows_of(url), before)
    reopened = StoreHouse(other, url=url)
    reopened._numbers = house._numbers
    assert_works(reopened)
    reopened.close()


def test_a_database_goes_back_version_by_version_and_comes_again_with_all_that_is_in_it(house: StoreHouse) -> None:
    before, engine, path = rows_of(house.url), writing_engine(house.url), sqlite_path(house.url)
    for revision in reversed(REVISIONS[:-1]):
        assert migrate_back(engine, path)[0] == revision
        assert held_revision(engine) == revision
        assert_same(rows_of(house.url), before)
    with pytest.raises(ConfigurationError, match="none before"):
        migrate_back(engine, path)
    migrate(engine, path)
    assert_same(rows_of(house.url), before)
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM users")).scalar() == 2
    again = StoreHouse(house.home, url=house.url)
    again._numbers = house._numbers
    assert_works(again)
    again.close()


def test_alerts_go_with_their_tables_and_are_raised_anew_in_an_instance_that_comes_again(house: StoreHouse) -> None:
    def raised(house: StoreHouse) -> None:
        house.do(a.CreateChannel, channel_id="n", name="n", kind="apprise", url="json://example.org/secret", address="json://…")
        house.do(a.CreateSubscriber, subscriber_id="s", name="s", channel_id="n")
        house.do(a.CreateSilence, silence_id="z", events=("job.*",), length_s=1)
        house.system(a.RaiseAlert, alert_id="x", fingerprint="x", severity="critical", event="disk.full", title="full")
        assert house.rows("SELECT alert_id, state FROM deliveries") == [("x", "pending")]

    running = StoreHouse(house.home, url=house.url)
    running._numbers = house._numbers
    raised(running)
    running.close()
    before, engine, path = rows_of(house.url), writing_engine(house.url), sqlite_path(house.url)
    while migrate_back(engine, path)[0] != "0009":
        pass
    assert_same(rows_of(house.url), before)
    migrate(engine, path)
    again = StoreHouse(house.home, url=house.url)
    again._numbers = house._numbers
    raised(again)
    again.close()


def test_going_back_is_for_an_instance_that_is_down(house: StoreHouse) -> None:
    settings = load_settings({"PERENNE_HOME": str(house.home), "PERENNE_DATABASE_URL": house.url})
    running = StoreHouse(house.home, url=house.url)
    with pytest.raises(Unavailable, match="writes to it already"):
        go_back(settings)
    running.close()
    went = go_back(settings)
    assert (went.held, went.before, went.lost) == (REVISIONS[-1], REVISIONS[-2], {})
    assert went.copy is not None
    assert held_revision(writing_engine(house.url)) == REVISIONS[-2]


def test_whoever_waits_for_a_migration_is_told_how_far_it_is(house: StoreHouse) -> None:
    if not house.path.exists():
        pytest.skip("full text is made anew on SQLite")
    engine = writing_engine(house.url)
    while migrate_back(engine, house.path)[0] != "0007":
        pass
    with engine.connect() as conn:
        passages = conn.execute(text("SELECT count(*) FROM chunks")).scalar_one()
    told: list[str] = []
    migrate(engine, house.path, tell=told.append)
    assert told[0].startswith("copying the database before it is brought from version 0007 to")
    assert told[1:] == [f"making full text anew: {passages} of {passages} passages"]


def test_a_migration_that_is_begun_again_goes_by_the_copy_of_its_first_try(house: StoreHouse) -> None:
    # Killed twice, it made the same copy three times, and the one from before an earlier migration was gone.
    if not house.path.exists():
        pytest.skip("copies of PostgreSQL are the server's")
    engine = writing_engine(house.url)
    while migrate_back(engine, house.path)[0] != "0007":
        pass
    earlier = {path.name for path in house.path.parent.glob("*-before-0007-*.db")}
    before = rows_of(house.url)

    def end(words: str) -> None:
        if words.startswith("making full text"):
            raise RuntimeError("the power is gone")

    copies: list[tuple[Path, int]] = []
    for _ in range(3):
        with pytest.raises(StorageFailed, match=r"as it was; a copy from before is .* the power is gone"):
            migrate(engine, house.path, tell=end)
        assert rows_of(house.url) == before
        (copy,) = house.path.parent.glob(f"*-before-{wanted_revision()}-*.db")
        copies.append((copy, copy.stat().st_ino))
    assert len(set(copies)) == 1
    assert {path.name for path in house.path.parent.glob("*-before-0007-*.db")} == earlier
    assert kept_in(copies[0][0]) == before
    with engine.connect() as conn, conn.begin():  # a writer of that version was here meanwhile
        conn.execute(text("UPDATE meta SET value = CAST(value AS integer) + 1 WHERE name = 'epoch'"))
    made = migrate(engine, house.path)
    assert made is not None
    assert kept_in(made)["meta"] != before["meta"]


def test_whoever_waits_for_the_copy_is_told_how_much_of_it_is_written(
    house: StoreHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not house.path.exists():
        pytest.skip("copies of PostgreSQL are the server's")
    engine = writing_engine(house.url)
    with engine.connect() as conn, conn.begin():
        conn.execute(text("CREATE TABLE much (data BLOB)"))
        conn.execute(text("INSERT INTO much SELECT zeroblob(1000000) FROM chunks, documents, commands"))
    with engine.connect() as conn:
        conn.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    monkeypatch.setattr(migrating, "COPY_LOOK_S", 0.001)
    told: list[str] = []
    migrating._copy_before(house.path, "0009", "copying", told.append)
    assert told[0] == "copying"
    megabytes = [int(words.removeprefix("copying: ").split()[0]) for words in told[1:]]
    assert megabytes == sorted(megabytes)
    assert len(set(megabytes)) > 3, told
    assert all(words.endswith(f" of {house.path.stat().st_size >> 20} MB") for words in told[1:])


def kept_in(path: Path) -> Rows:
    return rows_of(f"sqlite:///{path}")
