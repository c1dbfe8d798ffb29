"""A database brought back from a copy, so that whatever ends it on the way leaves the old one whole.

SQLite: the old database's log is moved into it, so that it is one file; then one rename puts the new file in its place. PostgreSQL: one
transaction of `pg_restore`. A restored database begins an origin of its own, so that an index which followed the old feed never takes
this one for the same."""

import contextlib
import logging
import os
import time
from pathlib import Path

import uuid_utils
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from actors.store.cutting import FULL_TEXT, POSTGRESQL_FILE, check_copy, row_counts, run_tool
from actors.store.database import check_place, connect_sqlite, reading_engine, sqlite_path, sync_folder, writing_engine
from actors.store.feed import feed_head
from actors.store.lock import WriterLock
from actors.store.postgresql import first_line, hold_writer_lock
from actors.store.reading import blob_hashes
from actors.store.tables import metadata
from actors.store.work import read_meta
from perenne.errors import ConfigurationError, Conflict, StorageFailed, Unavailable
from perenne.messages.backups import Cut, CutChecked

log = logging.getLogger(__name__)

FIRST = ("users", "keys", "projects")  # tables of which a first start makes one row each
DATA = ("documents", "conversations", "jobs", "watches", "channels", "subscribers", "silences")
SETTLED_WITHIN_S = 10.0  # for the last to let go of a database whose instance was just ended


def holds_rows(url: str) -> bool:
    """Whether there is a database with more in it than a first start puts there, or one that can't be read: what a restore takes the place of
    only when told to. Unavailable when its server is away."""
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return False
    try:
        with reading_engine(url).connect() as conn, conn.begin():
            rows = row_counts(conn)
    except DBAPIError as error:
        if path is not None:
            return True  # whatever it is
        raise Unavailable("the database", 1.0, first_line(error)) from error
    return any(rows.get(table, 0) > 1 for table in FIRST) or any(rows.get(table, 0) for table in DATA)


def moment_of(url: str) -> tuple[str, int]:
    """The database's origin, and its epoch, which every writer raises before anything else."""
    with reading_engine(url).connect() as conn, conn.begin():
        return read_meta(conn, "origin") or "", int(read_meta(conn, "epoch") or 0)


def counted(url: str) -> tuple[int, dict[str, int]]:
    """The feed's head, and the rows of each table."""
    with reading_engine(url).connect() as conn, conn.begin():
        return feed_head(conn), row_counts(conn)


def files_named(url: str) -> frozenset[str]:
    """The hashes of the files that a database's rows name."""
    with reading_engine(url).connect() as conn, conn.begin():
        return frozenset(blob_hashes(conn))


def may_try(url: str) -> bool:
    """Whether a restore can be tried out beside the database: of SQLite always, of PostgreSQL where its user may create one."""
    if sqlite_path(url) is not None:
        return True
    with reading_engine(url).connect() as conn, conn.begin():
        return bool(conn.execute(text("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")).scalar())


def put_in_place(url: str, copy: Path, made: Cut, *, force: bool) -> Path | None:
    """Make a checked copy the database at `url`, with an origin of its own; where the old one is kept, if there was one (of SQLite).

    Conflict when there is one and `force` is false; Unavailable when an instance runs on it. If anything is raised, or the process dies
    before this returns, the database is the old one or, from its last step on, the new one: never a part of either."""
    path = sqlite_path(url)
    if not force and holds_rows(url):
        where = path or "the PostgreSQL database"
        raise Conflict(f"{where} holds a database already: restore into an empty home, or over this one with --force")
    return _postgresql_in_place(url, copy) if path is None else _sqlite_in_place(path, copy)


def _sqlite_in_place(path: Path, copy: Path) -> Path | None:
    check_place(path)
    lock = WriterLock(path.with_suffix(".lock"))
    lock.acquire()
    try:
        _new_origin(copy)
        kept = _set_aside(path) if path.exists() else None
        copy.replace(path)
        sync_folder(path.parent)
        return kept
    finally:
        lock.release()


def _new_origin(copy: Path) -> None:
    """Durably, and without a log beside the file."""
    with contextlib.closing(connect_sqlite(copy, create=False, pragmas=("synchronous=FULL",))) as connection:
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()  # the writer makes it WAL again when it opens it
        connection.execute("UPDATE meta SET value = ? WHERE name = 'origin'", (uuid_utils.uuid4().hex,))
    with copy.open("rb") as written:
        os.fsync(written.fileno())
    copy.chmod(0o600)


def _set_aside(path: Path) -> Path:
    """A second name for the old database, which is one whole file from here on: under the new one its log would be replayed."""
    damaged = _fold_log(path)
    kept = path.with_name(f"{path.stem}-before-restore-{time.strftime('%Y%m%dT%H%M%S')}.db")
    kept.unlink(missing_ok=True)
    os.link(path, kept)
    if damaged:
        log.warning("%s could not be read (%s): it is kept as it is, with its log, as %s", path, damaged, kept)
    for ending in ("-wal", "-shm"):
        left = path.with_name(path.name + ending)
        if left.exists():  # only of a database that can't be read
            left.replace(kept.with_name(kept.name + ending))
    sync_folder(path.parent)
    return kept


def _fold_log(path: Path) -> str | None:
    """Move the whole log into the database; what kept it from that when the database is damaged. Unavailable while it is in use."""
    until = time.monotonic() + SETTLED_WITHIN_S
    try:
        with contextlib.closing(connect_sqlite(path, create=False, pragmas=("synchronous=FULL",))) as connection:
            while True:
                (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
                busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] if mode == "wal" else 0
                if not busy:
                    break
                if time.monotonic() > until:
                    raise Unavailable("the database", 1.0, f"something still reads {path}: end it first (perenne down)")
                time.sleep(0.2)
    except (Unavailable, OSError):
        raise
    except Exception as error:
        return str(error)
    return None


def _postgresql_in_place(url: str, dump: Path) -> None:
    engine = writing_engine(url)
    try:
        with engine.connect() as conn:
            hold_writer_lock(conn)  # until this session ends: no instance writes meanwhile
            with conn.begin():
                ours = [*(each.name for each in metadata.sorted_tables), *FULL_TEXT, "alembic_version"]
                there = sorted(set(ours) & set(inspect(conn).get_table_names()))
            if there:
                _load_over(url, dump, there)
            else:
                _load(url, dump)
            with conn.begin():
                conn.execute(text("UPDATE meta SET value = :origin WHERE name = 'origin'"), {"origin": uuid_utils.uuid4().hex})
                conn.exec_driver_sql("ANALYZE")
    except DBAPIError as error:
        raise Unavailable("the database", 1.0, first_line(error)) from error


def _load(url: str, dump: Path) -> None:
    run_tool(
        "pg_restore",
        writing_engine(url).url,
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
        str(dump),
    )


def _load_over(url: str, dump: Path, tables: list[str]) -> None:
    """In one transaction: ours go with all that hangs on them, then the dump's come. `pg_restore` alone would drop what the dump has and leave
    the tables of a later version there, in the way of the next migration."""
    script = dump.with_suffix(".sql")
    run_tool("pg_restore", None, f"--file={script}", "--clean", "--if-exists", "--no-owner", "--no-privileges", str(dump))
    dropping = dump.with_name("drop.sql")
    dropping.write_text("".join(f'DROP TABLE IF EXISTS "{table}" CASCADE;\n' for table in tables))
    files = (f"--file={dropping}", f"--file={script}")
    run_tool("psql", writing_engine(url).url, "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", *files)
    script.unlink()
    dropping.unlink()


def check_restorable(url: str, folder: Path, made: Cut) -> CutChecked:
    """The copy in `folder` looked at as a restore would bring it: of SQLite the file itself, of PostgreSQL a database of its own on the
    same server, which is gone again when this returns."""
    copy = folder / made.file
    if made.kind == "sqlite":
        return check_copy(f"sqlite:///{copy}", made)
    if sqlite_path(url) is not None:
        raise ConfigurationError("the backup is of a PostgreSQL database, and none is named in this home's settings")
    name = f"perenne_drill_{uuid_utils.uuid4().hex}"
    server = create_engine(writing_engine(url).url, isolation_level="AUTOCOMMIT")
    with server.connect() as conn:
        try:
            conn.exec_driver_sql(f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8'")
        except DBAPIError as error:
            raise StorageFailed(
                f"a restore can't be tried: the database's user may not create a database to try it in ({first_line(error)}); "
                "let it: ALTER ROLE NAME CREATEDB"
            ) from error
        try:
            scratch = make_url(url).set(database=name).render_as_string(hide_password=False)
            _load(scratch, folder / POSTGRESQL_FILE)
            return check_copy(scratch, made)
        finally:
            conn.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
