"""One moment of the database as a file, with what was in it; and such a file looked at again.

SQLite is copied page by page over its own backup interface, in one step: one read transaction, while the writer goes on. Each page keeps
its place, so that what did not change between two copies is the same bytes. PostgreSQL is dumped by its own `pg_dump` in the very snapshot
in which rows are counted. Both are read by a process of its own (`copying`). Why so: docs/adr/0021.
"""

import contextlib
import logging
import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Table, func, inspect, select, table, text

from actors.store.database import connect_sqlite, reading_engine, sqlite_path
from actors.store.feed import feed_head
from actors.store.golden import ask_texts, ask_vectors, differing
from actors.store.migrate import held_revision, wanted_revision
from actors.store.reading import blob_hashes
from actors.store.tables import metadata
from actors.store.work import read_meta
from perenne.errors import ConfigurationError, StorageFailed, Unavailable
from perenne.messages.backups import Cut, CutChecked

log = logging.getLogger(__name__)

SQLITE_FILE = "perenne.db"
POSTGRESQL_FILE = "postgresql.dump"
ROOM_BYTES = 64 << 20  # that must be left on the disk beside the copy
FULL_TEXT = ("chunk_terms", "chunk_terms_total")  # tables that SQLAlchemy does not know
PLACE_TRIES = 50  # to see the log twice without a commit between
DUMP_S = 6 * 3_600.0  # the longest that a dump may take


def cut(url: str, folder: Path) -> Cut:
    """Copy the database into `folder`, which is empty, as it is at this moment. The copy is scratch: no flush to disk is waited for.

    Unavailable when the database is away; StorageFailed when there is no room, or the copy is damaged as the original is."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = sqlite_path(url)
    return _cut_postgresql(url, folder) if path is None else _cut_sqlite(path, folder)


def _cut_sqlite(path: Path, folder: Path) -> Cut:
    copy = folder / SQLITE_FILE
    size = path.stat().st_size if path.exists() else 0
    need_room(folder, size)
    log_place, at = copy_pages(path, copy)
    with contextlib.closing(connect_sqlite(copy, create=False, pragmas=("query_only=ON",))) as connection:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StorageFailed(f"the database itself is damaged, so it is not backed up over a good copy: {found}")
    engine = reading_engine(f"sqlite:///{copy}")
    with engine.connect() as conn, conn.begin():
        made = _look(conn, "sqlite", copy.name, held_revision(engine) or "", at)
    _without_log(copy)
    return replace(made, log=log_place)


def copy_pages(path: Path, copy: Path) -> tuple[str, float]:
    """All pages of an SQLite database in their places, of one moment. Writing goes on meanwhile; its log grows, and is moved later.

    Returns the place in the log that the copy is at, as SALTS-FRAMES (empty when it can't be told: the log is empty or others write without
    a pause), and a time by which all that is in it was committed."""
    copy.unlink(missing_ok=True)
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    with (
        contextlib.closing(connect_sqlite(path, create=False, pragmas=("query_only=ON",))) as source,
        contextlib.closing(connect_sqlite(copy, create=False, pragmas=("journal_mode=OFF", "synchronous=OFF"))) as target,
    ):
        try:
            place = _begin_at_a_place(source, path)
            at = time.time()
            source.backup(target)  # one step: in several, each commit of another process would begin it anew
        except Exception as error:
            raise StorageFailed(f"the database can't be copied to {copy.parent}: {error}") from error
    return place, at


def _begin_at_a_place(source: Any, path: Path) -> str:
    """Open a read transaction on `source`; the place in the log that it sees."""
    with contextlib.closing(connect_sqlite(path, create=False, pragmas=("query_only=ON",))) as aside:
        for left in reversed(range(PLACE_TRIES)):
            before = _place(aside, path)
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
            if before == _place(aside, path):
                return before
            if left:
                source.execute("ROLLBACK")
    return ""


def _place(connection: Any, path: Path) -> str:
    """How the log begins, and how many frames of it are committed (sqlite.org/fileformat2.html#walformat)."""
    frames: int = connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()[1]
    try:
        with path.with_name(f"{path.name}-wal").open("rb") as log_file:
            salts = log_file.read(24)[16:]
    except FileNotFoundError:
        return ""
    return f"{salts.hex()}-{frames}" if len(salts) == 8 and frames > 0 else ""


def _without_log(copy: Path) -> None:
    """Reading a copy leaves files beside it, which say nothing that it does not."""
    for ending in ("-wal", "-shm", "-journal"):
        copy.with_name(copy.name + ending).unlink(missing_ok=True)


def need_room(folder: Path, size: int) -> None:
    """StorageFailed unless there is room for so many bytes, and some to spare."""
    free = shutil.disk_usage(folder).free
    if free < size + ROOM_BYTES:
        raise StorageFailed(f"{folder} has {free >> 20:,} MB free, and {(size + ROOM_BYTES) >> 20:,} MB are needed for a copy")


def _cut_postgresql(url: str, folder: Path) -> Cut:
    engine = reading_engine(url)
    with engine.connect() as conn:
        with conn.begin():
            conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
            at = time.time()
            snapshot: str = conn.execute(text("SELECT pg_export_snapshot()")).scalar_one()
            size: int = conn.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
            need_room(folder, size)
            dump = folder / POSTGRESQL_FILE
            # Not compressed: the pieces are, and unchanged stretches of it stay the same bytes.
            run_tool(
                "pg_dump", engine.url, "--format=custom", "--compress=0", "--no-owner", "--no-privileges",
                f"--snapshot={snapshot}", f"--file={dump}",
            )  # fmt: skip
            return _look(conn, "postgresql", dump.name, held_revision(engine) or "", at)


def run_tool(program: str, url: URL | None, *arguments: str, within_s: float = DUMP_S) -> None:
    """One of PostgreSQL's own programs, on a database or files alone. Unavailable when this machine has none, StorageFailed with its words."""
    found = shutil.which(program)
    if found is None:
        raise Unavailable(
            program, 60.0, "it is not on this machine; install the PostgreSQL client: apt install postgresql-client"
        )
    secret = {} if url is None or url.password is None else {"PGPASSWORD": str(url.password)}
    on: tuple[str, ...] = ()
    if url is not None:
        address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
        on = ("--no-password", f"--dbname={address}")
    try:
        subprocess.run(
            [found, *on, *arguments],
            env={**os.environ, **secret},
            umask=0o077,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise StorageFailed(f"{program} failed: {said.splitlines()[-1] if said else type(error).__name__}") from error


def _look(conn: Connection, kind: Any, file: str, revision: str, at: float) -> Cut:
    """Of another version's database no question is asked: its full text is another."""
    same_version = revision == wanted_revision()
    return Cut(
        kind=kind,
        file=file,
        revision=revision,
        origin=read_meta(conn, "origin") or "",
        seq=feed_head(conn),
        at=at,
        counts=row_counts(conn),
        blobs=tuple(sorted(blob_hashes(conn))),
        texts=ask_texts(conn) if same_version else (),
        vectors=ask_vectors(conn) if same_version else (),
    )


def row_counts(conn: Connection) -> dict[str, int]:
    """Of every table of ours that is there."""
    there = set(inspect(conn).get_table_names())
    known: dict[str, Any] = {str(each.name): each for each in metadata.sorted_tables}
    known |= {name: table(name) for name in FULL_TEXT}
    counted: dict[str, Table] = {name: each for name, each in known.items() if name in there}
    return {name: conn.execute(select(func.count()).select_from(each)).scalar_one() for name, each in counted.items()}


def check_copy(url: str, made: Cut) -> CutChecked:
    """A copy, or a database that was restored from one, compared with what was recorded of it: SQLite's own integrity check, the rows
    of each table, the feed's head, and the questions. Of another version's copy the questions are left out: its full text is another."""
    path = sqlite_path(url)
    faults = [] if path is None else faults_of(path)
    if faults:
        return CutChecked(rows=0, texts=0, vectors=0, faults=tuple(faults))
    engine = reading_engine(url)
    same_version = held_revision(engine) == wanted_revision() == made.revision
    with engine.connect() as conn, conn.begin():
        if path is None:
            conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        counts = row_counts(conn)
        for name in sorted(made.counts.keys() | counts.keys()):
            if counts.get(name) != made.counts.get(name):
                faults.append(f"{name} has {counts.get(name, 'no')} rows, {made.counts.get(name, 'no')} were recorded")
        if feed_head(conn) != made.seq:
            faults.append(f"the feed ends at {feed_head(conn)}, recorded was {made.seq}")
        if same_version:
            faults += differing(conn, made.texts, made.vectors)
    if path is not None:
        _without_log(path)
    return CutChecked(
        rows=sum(counts.values()),
        texts=len(made.texts) if same_version else 0,
        vectors=len(made.vectors) if same_version else 0,
        faults=tuple(faults),
    )


def faults_of(path: Path) -> list[str]:
    """What SQLite itself finds wrong with a file, in words."""
    try:
        with contextlib.closing(connect_sqlite(path, create=False, pragmas=("query_only=ON",))) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
            faults = [f"the database is damaged: {each}" for each in found if each != "ok"]
            faults += [
                f"a row of {row[0]} names one of {row[2]} that is not there"
                for row in connection.execute("PRAGMA foreign_key_check").fetchmany(20)
            ]
    except Exception as error:  # the driver's own, of which there are several
        return [f"the database can't be read: {error}"]
    return faults


def expect_kind(url: str, made: Cut) -> None:
    """ConfigurationError when the backup is of the other kind of database."""
    here = "postgresql" if sqlite_path(url) is None else "sqlite"
    if here != made.kind:
        how = (
            "unset PERENNE_DATABASE_URL (and store: url: in config.yaml), restore, and move the rows with `perenne database move`"
            if made.kind == "sqlite"
            else "name an empty PostgreSQL database with PERENNE_DATABASE_URL"
        )
        raise ConfigurationError(f"the backup is of a {made.kind} database and this home is set to {here}: {how}")
