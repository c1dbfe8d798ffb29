"""A whole start with the database of the first version, much data in it, and its writer killed amid the migration."""

import hashlib
import itertools
import os
import random
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic import command
from sqlalchemy import Connection, MetaData, Table, insert

from actors.backups.before import KIND
from actors.backups.repository import Repository
from actors.store.database import writing_engine
from actors.store.lexicon import lexicon
from actors.store.migrate import _config, wanted_revision
from actors.store.terms import passage_terms
from cluster.instance import write_private
from perenne.messages.health import TreeStatus
from tests.live.running import RunningInstance

KEY = "pk_of_the_first_version"
DOCUMENTS, PASSAGES = 1_500, 40  # of each: so that the migration takes longer than it takes the edge to come up
WORDS = 90  # of a passage
TEXTS = 400  # that are different, but for a word
FULL_TEXT = "StoreWriter: making full text anew: "


def first_version(home: Path) -> None:
    """What that version left in a home: a user, a key, a project, and documents with their full text."""
    chance = random.Random(7)
    words = ["".join(chance.choices("abcdefghilmnoprstu", k=chance.randint(4, 9))) for _ in range(5_000)]
    texts = [" ".join(chance.choices(words, k=WORDS)) for _ in range(TEXTS)]
    terms = [passage_terms(text, "en") for text in texts]
    (home / "store").mkdir()
    write_private(home / "key", f"{KEY}\n")
    key_hash = hashlib.sha256(KEY.encode()).hexdigest()
    with writing_engine(database_of(home)).connect() as conn, conn.begin():
        command.upgrade(_config(conn), "0001")
        put(conn, "users", [{"id": "owner", "name": "owner", "created_at": 1.0}])
        counts = {"documents": DOCUMENTS, "chunks": DOCUMENTS * PASSAGES}
        put(conn, "projects", [{"id": "first", "user_id": "owner", "name": "first", "created_at": 1.0, **counts}])
        scopes = {"scopes": '["read","write","admin"]', "label": "first key"}
        put(conn, "keys", [{"id": "key", "user_id": "owner", "key_hash": key_hash, "created_at": 1.0, **scopes}])
        put(conn, "meta", [{"name": "epoch", "value": "7"}, {"name": "origin", "value": "a" * 32}])
        sizes = {"chunks": PASSAGES, "state": "indexed", "language": "en", "user_id": "owner"}
        times = [{"created_at": 2.0 + n, "updated_at": 2.0 + n} for n in range(DOCUMENTS)]
        put(conn, "documents", [{"id": f"d{n}", "title": f"report {n}", **sizes, **times[n]} for n in range(DOCUMENTS)])
        put(conn, "document_projects", [{"project_id": "first", "document_id": f"d{n}"} for n in range(DOCUMENTS)])
        chunks: list[dict[str, Any]] = []
        kept: list[tuple[int, str, str]] = []
        for id in range(1, DOCUMENTS * PASSAGES + 1):
            document, ordinal = divmod(id - 1, PASSAGES)
            text = f"{texts[id % TEXTS]} mark{id}"
            place = {"ordinal": ordinal, "start": 0, "end": len(text), "language": "en"}
            chunks.append({"id": id, "document_id": f"d{document}", "text": text, **place})
            kept.append((id, f"report {document}", f"{terms[id % TEXTS]} mark{id}"))
        put(conn, "chunks", chunks)
        lexicon(conn).remember(conn, kept)


def put(conn: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    conn.execute(insert(Table(table, MetaData(), autoload_with=conn)), rows)


def database_of(home: Path) -> str:
    return f"sqlite:///{home / 'store' / 'perenne.db'}"


def rows_in(path: Path) -> list[tuple[Any, ...]]:
    """The revision, and a sum over all that must not be lost."""
    with closing(sqlite3.connect(path)) as conn:
        (revision,) = conn.execute("SELECT version_num FROM alembic_version").fetchone()
        assert conn.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        sums = [
            conn.execute(f"SELECT count(*), sum(length({column})), min({column}), max({column}) FROM {table}").fetchone()
            for table, column in (
                ("chunks", "text"),
                ("chunks", "id"),
                ("documents", "title"),
                ("document_projects", "document_id"),
            )
        ]
        return [revision, *sums]


@dataclass
class Seen:
    """What was seen from outside while the writer recovered."""

    statuses: list[TreeStatus] = field(default_factory=list)
    probes: set[tuple[str, int]] = field(default_factory=set)


def watch(instance: RunningInstance, seen: Seen, end: threading.Event) -> None:
    while not end.wait(0.1):
        status = instance.status()
        if status is None or not recovering(status):
            continue
        probes: set[tuple[str, int]] = set()
        for path in ("/livez", "/readyz"):
            try:
                probes.add((path, httpx.get(f"{instance.address}{path}", timeout=5, trust_env=False).status_code))
            except httpx.HTTPError:
                continue  # it does not answer yet
        after = instance.status()
        if after is not None and recovering(after):  # all the while
            seen.statuses.append(status)
            seen.probes |= probes


def told(instance: RunningInstance) -> list[int]:
    """Passages whose full text was made, as the root said it."""
    said = [word for word in instance.words if word.startswith(FULL_TEXT)]
    return [int(word.removeprefix(FULL_TEXT).split()[0].replace(",", "")) for word in said]


def recovering(status: TreeStatus) -> bool:
    return next(child for child in status.children if child.name == "StoreWriter").state == "recovering"


@pytest.fixture
def instance() -> Iterator[RunningInstance]:
    made = RunningInstance()
    yield made
    made.close()


def test_a_start_with_much_to_migrate_tells_how_far_it_is_and_a_killed_writer_loses_nothing(instance: RunningInstance) -> None:
    first_version(instance.home)
    database = instance.home / "store" / "perenne.db"
    before = rows_in(database)
    assert before[0] == "0001"
    seen, end = Seen(), threading.Event()
    watching = threading.Thread(target=watch, args=(instance, seen, end), daemon=True)
    starting = threading.Thread(target=instance.start, daemon=True)
    watching.start()
    starting.start()

    # Its words begin before there is an address.
    assert instance.until(lambda: instance.said(FULL_TEXT) is not None, 120), instance.words
    assert instance.words[0].startswith("StoreWriter: a backup before the database is brought from version 0001 to"), (
        instance.words
    )
    # Far enough that what the second run tells is less, and not so far that it is over.
    assert instance.until(lambda: told(instance)[-1] >= DOCUMENTS * PASSAGES * 0.4, 120), instance.words
    writer = instance.child("StoreWriter")
    assert writer.state == "recovering"
    os.kill(writer.pid, signal.SIGKILL)
    assert instance.until(lambda: instance.child("StoreWriter").restarts == 1, 60)
    status = instance.command("status")
    assert status.returncode == 1
    assert "not ready: StoreWriter is recovering" in status.stdout, status.stdout

    starting.join(240)
    end.set()
    watching.join(20)
    assert not starting.is_alive()
    address = next(n for n, word in enumerate(instance.words) if word.startswith("address: "))
    assert not any(word.startswith("StoreWriter: ") for word in instance.words[address:]), instance.words
    heard = told(instance)
    begun_again = [n for n, (one, next_) in enumerate(itertools.pairwise(heard), 1) if next_ <= one]
    assert len(begun_again) == 1, heard
    assert len(heard) > begun_again[0] + 2, "the second run tells how far it is as well"
    assert all(not status.ready for status in seen.statuses)
    assert all(any("StoreWriter is recovering" in reason for reason in status.reasons) for status in seen.statuses)
    assert {("/livez", 200), ("/readyz", 503)} <= seen.probes, seen.probes
    assert ("/readyz", 200) not in seen.probes
    assert instance.child("StoreWriter").restarts == 1, "it was killed once, and nobody took it for hung"

    with instance.client() as http:
        (project,) = http.get("/api/projects").json()["items"]
        assert (project["documents"], project["chunks"]) == (DOCUMENTS, DOCUMENTS * PASSAGES)
        for id in (1, DOCUMENTS * PASSAGES // 2, DOCUMENTS * PASSAGES):
            hits = http.post("/api/search", json={"query": f"mark{id}", "k": 1}).json()["hits"]
            assert [hit["chunk_id"] for hit in hits] == [id]
        newest = http.get("/api/documents", params={"project_id": project["id"], "limit": 2}).json()["items"]
        assert [document["id"] for document in newest] == [f"d{DOCUMENTS - 1}", f"d{DOCUMENTS - 2}"]
    assert instance.stop() == 0
    assert rows_in(database) == [wanted_revision(), *before[1:]]
    with closing(sqlite3.connect(database)) as conn:
        assert conn.execute("SELECT count(*) FROM chunk_terms_docsize").fetchone() == (DOCUMENTS * PASSAGES,)
    assert list(database.parent.glob("*-before-*.db")) == []
    with Repository.open(str(instance.home / "backups")) as repository:
        (backup,) = [each for each in repository.list() if each.cut.kind == KIND]  # of the first try, and no other
        (entry,) = [each for each in repository.manifest(backup.id).entries if each.name == "database/perenne.db"]
        repository.restore_file(entry, instance.home / "restored.db")
    assert rows_in(instance.home / "restored.db") == before
