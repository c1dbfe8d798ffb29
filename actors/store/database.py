"""Connections: one that writes, many that only read."""

import contextlib
import os
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool, StaticPool

from actors.store.filesystem import network_filesystem
from actors.store.postgresql import open_engine, postgresql_url
from actors.store.prepared import Prepared
from perenne.errors import ConfigurationError, Unavailable

BUSY_TIMEOUT_MS = 5_000  # how long a statement waits for another connection's lock
CACHE_KIB = 16_384  # page cache of one connection
MMAP_BYTES = 256 << 20  # of the database, shared with the kernel's own cache


def sqlite_module() -> Any:
    """The packaged build: the machine's own may be one of those that corrupt a log at its reset (3.7.0 to 3.51.2)."""
    from pysqlite3 import dbapi2

    return cast("Any", dbapi2)


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL, None for PostgreSQL's. ConfigurationError for any other."""
    if not url.startswith("sqlite:"):
        postgresql_url(url)
        return None
    parsed = make_url(url)
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError(f"the store needs a file that survives it, got {url!r}")
    return Path(parsed.database)


def check_place(path: Path) -> None:
    """Make the database's folder. ConfigurationError where SQLite would lose data: on a network file system."""
    kind = network_filesystem(path)
    if kind is not None:
        raise ConfigurationError(
            f"{path.parent} is on a network file system ({kind}); SQLite needs a local disk: move PERENNE_HOME to one"
        )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in path.parent.parents[:2]:  # SQLite makes its files durable, not the folder that they are in
        with contextlib.suppress(PermissionError):  # not ours to look into, so not made by us
            sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def connect_sqlite(path: Path, *, create: bool, pragmas: tuple[str, ...]) -> Any:
    """A raw connection that leaves transactions to us."""
    sqlite = sqlite_module()
    mode = "rwc" if create else "rw"
    try:
        connection = sqlite.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT_MS / 1000,
            cached_statements=512,
        )
    except sqlite.OperationalError as error:
        raise Unavailable("the database", 1.0, f"{path} cannot be opened: {error}") from error
    for pragma in ("foreign_keys=ON", f"cache_size=-{CACHE_KIB}", f"mmap_size={MMAP_BYTES}", *pragmas):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _sqlite_engine(path: Path, *, create: bool, pragmas: tuple[str, ...], begin: str, single: bool) -> Engine:
    engine = create_engine(
        "sqlite://",
        module=sqlite_module(),
        creator=lambda: connect_sqlite(path, create=create, pragmas=pragmas),
        poolclass=StaticPool if single else NullPool,
        query_cache_size=2_000,
        hide_parameters=True,
    )

    begins = Prepared(text(begin))

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        begins.run(connection)

    return engine


def writing_engine(url: str) -> Engine:
    """The engine of the one writer. Every commit is on disk when it returns; checkpoints are the writer's own (`checkpoint`)."""
    path = sqlite_path(url)
    if path is None:
        return open_engine(url, reading=False)
    check_place(path)
    pragmas = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0", "journal_size_limit=67108864")
    return _sqlite_engine(path, create=True, pragmas=pragmas, begin="BEGIN IMMEDIATE", single=False)


def reading_engine(url: str) -> Engine:
    """An engine that cannot write and never makes the database. A transaction of it sees one moment."""
    path = sqlite_path(url)
    if path is None:
        return open_engine(url, reading=True)
    return _sqlite_engine(path, create=False, pragmas=("query_only=ON",), begin="BEGIN", single=False)
