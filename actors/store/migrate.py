"""The database brought to this version at boot, after a backup or a copy; or left whole, and said so."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine

from actors.store.database import connect_sqlite, sync_folder
from actors.store.dumps import dump_before
from perenne.errors import ConfigurationError, StorageFailed

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
COPIES_KEPT = 2
COPY_LOOK_S = 0.25  # between looks at how much of a copy is written
COPY_TOLD = 20  # times on the way

Tell = Callable[[str], None]  # what is being done, for whoever waits


class Safeguard(Protocol):
    """What makes a backup of the database before it is changed (`guarding.Guard`)."""

    def keep(self, held: str, wanted: str, tell: Tell) -> str | None: ...
    def fell_back(self, copy: Path | None) -> None: ...


def _silent(_: str) -> None:
    """For those who wait for no word."""


def _config(connection: Any = None, scripts: Path = MIGRATIONS, tell: Tell = _silent) -> Config:
    config = Config()
    config.attributes["tell"] = tell
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def wanted_revision(scripts: Path = MIGRATIONS) -> str:
    head = ScriptDirectory.from_config(_config(scripts=scripts)).get_current_head()
    assert head is not None
    return head


def held_revision(engine: Engine) -> str | None:
    """The revision that the database is at, None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def create_tables(connection: Connection) -> None:
    """All tables of this version in an empty database, in the transaction that is open."""
    command.upgrade(_config(connection), "head")


def copy_database(path: Path, copy: Path) -> None:
    """A whole, consistent copy of an SQLite database, while it is in use."""
    connection = connect_sqlite(path, create=False, pragmas=())
    try:
        connection.execute("VACUUM INTO ?", (str(copy),))
    finally:
        connection.close()
    copy.chmod(0o600)
    with copy.open("rb") as written:
        os.fsync(written.fileno())


@contextlib.contextmanager
def _told(path: Path, unfinished: Path, beginning: str, tell: Tell) -> Iterator[None]:
    """Say how much of the copy is written while it is made: SQLite itself says nothing until it is whole."""
    made = threading.Event()
    with contextlib.closing(connect_sqlite(path, create=False, pragmas=())) as connection:
        of_bytes: int = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[
            0
        ]

    def look() -> None:
        told = 0
        while not made.wait(COPY_LOOK_S):
            written = unfinished.stat().st_size if unfinished.exists() else 0
            if written * COPY_TOLD // max(1, of_bytes) > told:
                told = written * COPY_TOLD // max(1, of_bytes)
                tell(f"{beginning}: {written >> 20:,} of {of_bytes >> 20:,} MB")

    looking = threading.Thread(target=look, name="store-copy", daemon=True)
    looking.start()
    try:
        yield
    finally:
        made.set()
        looking.join()


def _state(path: Path) -> tuple[Any, ...]:
    """What tells a database that nobody wrote to since from any other: its revision, and the epoch, which every writer raises first."""
    with contextlib.closing(connect_sqlite(path, create=False, pragmas=("query_only=ON",))) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return revision, connection.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()


def _copy_of_now(path: Path, revision: str) -> Path | None:
    """The copy that an earlier try of this migration made, when it is of this very database: another would say the same, and push an
    older one out."""
    for copy in sorted(path.parent.glob(f"{path.stem}-before-{revision}-*.db"), key=lambda p: p.stat().st_mtime, reverse=True)[
        :1
    ]:
        try:
            if _state(copy) == _state(path):
                return copy
        except Exception as error:
            log.warning("%s cannot be read, so another copy is made: %s", copy, error)
    return None


def _copy_before(path: Path, revision: str, beginning: str, tell: Tell) -> Path:
    copy = _copy_of_now(path, revision)
    if copy is not None:
        log.info("an earlier try copied the database to %s, and it has not changed since", copy)
        return copy
    tell(beginning)
    copy = path.with_name(f"{path.stem}-before-{revision}-{time.strftime('%Y%m%dT%H%M%S')}.db")
    unfinished = path.with_name(f"{path.stem}-before.part")  # one name for all tries: they do not fill the disk
    unfinished.unlink(missing_ok=True)
    try:
        with _told(path, unfinished, beginning, tell):
            copy_database(path, unfinished)
        unfinished.replace(copy)
        sync_folder(copy.parent)
    except Exception as error:
        unfinished.unlink(missing_ok=True)
        raise StorageFailed(f"the database cannot be copied before it is migrated, so it is left as it is: {error}") from error
    for old in sorted(path.parent.glob(f"{path.stem}-before-*.db"), key=lambda p: p.stat().st_mtime)[:-COPIES_KEPT]:
        old.unlink()
    return copy


def migrate(
    engine: Engine,
    path: Path | None,
    scripts: Path = MIGRATIONS,
    dumps: Path | None = None,
    tell: Tell = _silent,
    guard: Safeguard | None = None,
) -> Path | None:
    """Bring the database to this version. First `guard` makes a backup; where it can't, or there is no guard, a copy is made: beside SQLite's
    file, of PostgreSQL in `dumps`. Which copy, if one was made. `tell` hears what is being done, and how far it is.

    ConfigurationError when it is of a newer version than this program; StorageFailed when the migration failed: then the database is as it was.
    """
    held, wanted = held_revision(engine), wanted_revision(scripts)
    if held == wanted:
        return None
    if held is not None:
        _known(held, scripts)
    return _move(engine, path, dumps, held, wanted, lambda config: command.upgrade(config, "head"), scripts, tell, guard)


def version_before(engine: Engine) -> str | None:
    """The version before the one that the database is at; None where there is none. ConfigurationError when this program knows not
    even that it is at."""
    held = held_revision(engine)
    before = None if held is None else _known(held, MIGRATIONS).down_revision
    return before if isinstance(before, str) else None


def earlier_versions(held: str) -> frozenset[str]:
    """All that come before a version that this program knows."""
    scripts = ScriptDirectory.from_config(_config())
    return frozenset(each.revision for each in scripts.iterate_revisions(held, "base")) - {held}


def migrate_back(
    engine: Engine, path: Path | None, dumps: Path | None = None, tell: Tell = _silent, guard: Safeguard | None = None
) -> tuple[str, Path | None]:
    """Bring the database back by one version, for the program before this one; the revision that it is at then, and the copy, as from
    `migrate`.

    ConfigurationError when there is none before, or the database is not of this version; StorageFailed as from `migrate`.
    """
    held, before = held_revision(engine), version_before(engine)
    if held is None or before is None:
        raise ConfigurationError(f"the database is at revision {held!r}, and there is none before it")
    run = lambda config: command.downgrade(config, before)  # noqa: E731
    return before, _move(engine, path, dumps, held, before, run, tell=tell, guard=guard)


def _known(held: str, scripts: Path) -> Any:
    """The migration that the database is at."""
    try:
        return ScriptDirectory.from_config(_config(scripts=scripts)).get_revision(held)
    except CommandError as error:
        raise ConfigurationError(
            f"the database is at revision {held!r}, which this version of Perenne does not know; run the version that wrote it"
        ) from error


def _move(
    engine: Engine,
    path: Path | None,
    dumps: Path | None,
    held: str | None,
    wanted: str,
    run: Callable[[Config], None],
    scripts: Path = MIGRATIONS,
    tell: Tell = _silent,
    guard: Safeguard | None = None,
) -> Path | None:
    """A backup or else a copy, then one transaction that brings the database from `held` to `wanted`."""
    backup = guard.keep(held, wanted, tell) if held is not None and guard is not None else None
    copy: Path | None = None
    if held is not None and backup is None:
        copying = f"copying the database before it is brought from version {held} to {wanted}"
        if path is not None:
            copy = _copy_before(path, wanted, copying, tell)
        elif dumps is not None:
            tell(copying)
            copy = dump_before(engine.url, dumps, wanted)
        if guard is not None:
            guard.fell_back(copy)
    log.info("migrating the database from %s to %s", held, wanted)
    try:
        with engine.connect() as connection, connection.begin():
            run(_config(connection, scripts, tell))
    except Exception as error:
        where = f"; a backup from before is {backup}" if backup else f"; a copy from before is {copy}" if copy else ""
        raise StorageFailed(
            f"the migration from {held} to {wanted} failed, the database is as it was{where}: {error}"
        ) from error
    return copy
