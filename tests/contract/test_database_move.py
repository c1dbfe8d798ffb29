"""The rows of an instance moved from SQLite to a real PostgreSQL, and what ends the move amid it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, inspect, select
from typer.testing import CliRunner

from actors.store import feed, fulltext
from actors.store.commands import app
from actors.store.database import writing_engine
from actors.store.move import Moved, move
from actors.store.tables import chunks, document_texts, documents, metadata, projects, watches
from actors.store.work import read_meta
from perenne.errors import ConfigurationError, StorageFailed, Unavailable
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.messages.event_batch import EventBatch, NewEvent
from perenne.messages.search import Filters
from tests.postgresql import Cluster
from tests.unit.store.store_house import SPACE, StoreHouse, on_sqlite, passage, unit

ODD = "東京 \U0001f9d1\u200d\U0001f680 e\u0301 \u202eرسالة \\N \t\r\n 'quoted' \ufffe \x7f"
LARGE = 2**62 + 1
MOVE = [sys.executable, "-c", "from actors.store.commands import app; app()", "move", "--json"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    """Rows in every table, odd texts and large numbers among them; the instance is down."""
    made = StoreHouse(tmp_path, url=on_sqlite(tmp_path)).people()
    made.do(c.CreateKey, key_id="k", for_user_id="ana", key_hash="a" * 64, label=ODD, scopes=("read",))
    job = made.lines()
    made.store(job, passage("a", f"the harbour {ODD}", unit(1, 0), language="en"), passage("b", "harbour", unit(0, 1)))
    made.store(job, passage("gone", "harbour harbour", unit(1, 1)))
    made.do(c.DeleteDocument, document_id="doc-gone")
    made.do(c.PostMessage, conversation_id="t", message_id="q", reply_id="r", run_id="u", text=ODD)
    made.system(c.StartAttempt, run_id="u", host="h")
    events = EventBatch.of([NewEvent(kind="delta", data={"text": ODD})])
    made.system(c.AppendRunEvents, run_id="u", host="h", events=events)
    made.do(a.CreateChannel, channel_id="n", name=ODD, kind="apprise", url="json://example.org/secret", address="json://…")
    made.do(a.CreateSubscriber, subscriber_id="s", name="s", channel_id="n")
    made.do(a.CreateSilence, silence_id="z", events=("job.*",), length_s=60.0)
    made.system(a.RaiseAlert, alert_id="x", fingerprint="x", severity="critical", event="disk.full", title=ODD, group="g")
    made.close()
    with writing_engine(made.url).begin() as conn:
        row = {"id": "w", "user_id": "ana", "project_id": "ana-home", "path": ODD, "ignore": "[]", "created_at": 0.1 + 0.2}
        conn.execute(insert(watches), row)
        conn.execute(documents.update().where(documents.c.id == "doc-a").values(size_bytes=LARGE))
    yield made
    made.close()


@pytest.fixture
def target(cluster: Cluster) -> str:
    return cluster.address(cluster.database())


def rows_of(url: str) -> dict[str, list[tuple[Any, ...]]]:
    with writing_engine(url).connect() as conn:
        return {
            table.name: [tuple(row) for row in conn.execute(select(table).order_by(*table.primary_key.columns))]
            for table in metadata.sorted_tables
        }


def tables_in(url: str) -> list[str]:
    return inspect(writing_engine(url)).get_table_names()


def without_meta(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    return {name: each for name, each in rows.items() if name != "meta"}


def test_every_row_arrives_and_the_instance_goes_on_where_it_was(house: StoreHouse, tmp_path: Path, target: str) -> None:
    before = rows_of(house.url)
    assert all(before.values()), [name for name, rows in before.items() if not rows]
    head = house.ask(fulltext.feed_head)
    found = house.ask(fulltext.search_text, fulltext.WordCounts(), "ana", None, "harbour", 9, Filters())
    moved = move(house.url, target)
    assert moved == Moved({name: len(rows) for name, rows in before.items()} | {"chunk_terms": 2}, 0)
    assert without_meta(rows_of(target)) == without_meta(before)
    assert rows_of(house.url) == before
    there = StoreHouse(tmp_path / "there", url=target)
    try:
        hits = there.ask(fulltext.search_text, fulltext.WordCounts(), "ana", None, "harbour", 9, Filters())
        assert hits.ids == found.ids
        assert hits.scores == pytest.approx(found.scores, rel=1e-6)
        assert there.ask(fulltext.feed_head) == head
        old, new = (each.ask(feed.index_feed, SPACE, 0, 1 << 20) for each in (house, there))
        assert new.items == old.items
        assert new.origin != old.origin  # an index that followed the one begins anew with the other
        again = there.do(c.CreateProject, user_id="ana", command_id="cmd-2", project_id="ana-home", name="home")
        assert again.id == "ana-home"  # a command of before the move is known
        there._numbers = house._numbers
        there.store(there.lines(), passage("new", "a third passage", unit(1, 1)))
        ids = [id for (id,) in there.rows("SELECT id FROM chunks ORDER BY id")]
        assert len(ids) == 3
        assert ids[-1] > 3  # the id of what was deleted does not come back
    finally:
        there.close()


def test_a_nul_becomes_the_sign_that_stands_for_it_and_is_told(house: StoreHouse, target: str) -> None:
    with writing_engine(house.url).begin() as conn:  # as a version of before nul.py may have left it
        conn.execute(document_texts.update().where(document_texts.c.document_id == "doc-b").values(text="har\0bour\0"))
    assert move(house.url, target).nuls == 1
    with writing_engine(target).connect() as conn:
        kept = conn.execute(select(document_texts.c.text).where(document_texts.c.document_id == "doc-b")).scalar_one()
    assert kept == "har\ufffdbour\ufffd"


def test_a_row_that_is_refused_leaves_the_target_empty(house: StoreHouse, target: str) -> None:
    with writing_engine(house.url).begin() as conn:
        conn.execute(projects.update().values(documents=2**40))  # SQLite keeps it, PostgreSQL's integer does not
    with pytest.raises(StorageFailed, match="projects was refused"):
        move(house.url, target)
    assert tables_in(target) == []


def test_only_an_instance_that_is_down_moves_and_only_into_an_empty_database(house: StoreHouse, target: str) -> None:
    running = StoreHouse(house.home, url=house.url)
    with pytest.raises(Unavailable, match="writes to it already"):
        move(house.url, target)
    running.close()
    with pytest.raises(ConfigurationError, match="expected this instance on SQLite"):
        move(target, house.url)
    assert tables_in(target) == []
    move(house.url, target)
    with pytest.raises(ConfigurationError, match=r"expected an empty database .* users \(2 rows\)"):
        move(house.url, target)


def test_a_move_that_is_killed_leaves_the_source_whole_and_the_target_empty(house: StoreHouse, target: str) -> None:
    with writing_engine(house.url).begin() as conn:
        made = {"document_id": "doc-a", "start": 0, "end": 1, "text": ODD * 20}
        conn.execute(insert(chunks), [made | {"id": n, "ordinal": n} for n in range(100, 8_000)])
    before = rows_of(house.url)
    environment = {**os.environ, "PERENNE_HOME": str(house.home), "PERENNE_DATABASE_URL": house.url, "PERENNE_MOVE_TO": target}
    with subprocess.Popen(MOVE, stdout=subprocess.PIPE, env=environment, text=True) as moving:
        assert moving.stdout is not None
        told = next(json.loads(line) for line in moving.stdout if '"chunks"' in line)
        moving.kill()
    assert 0 < told["rows"] < told["of"]
    assert rows_of(house.url) == before
    assert tables_in(target) == []
    done = subprocess.run(MOVE, capture_output=True, env=environment, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["moved"]["chunks"] == len(before["chunks"])
    with writing_engine(target).connect() as conn:
        assert read_meta(conn, "origin")


def test_the_command_says_what_to_set_and_how_to_go_back(
    house: StoreHouse, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNE_HOME", str(house.home))
    monkeypatch.setenv("PERENNE_DATABASE_URL", house.url)
    said = CliRunner().invoke(app, ["move", "--to", target])
    assert said.exit_code == 0, said.output
    assert "PERENNE_DATABASE_URL=postgresql://" in said.output
    assert "To go back" in said.output
    refused = CliRunner().invoke(app, ["move", "--to", target])
    assert refused.exit_code != 0
    assert "secret" not in said.output + refused.output
