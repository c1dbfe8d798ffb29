"""The database brought to this version at boot, after a copy; or left whole, and said so."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

Tell = Callable[[str], None]  # what is being done, for whoever waits


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


def _copy_before(path: Path, revision: str) -> Path:
    copy = path.with_name(f"{path.stem}-before-{revision}-{time.strftime('%Y%m%dT%H%M%S')}.db")
    unfinished = path.with_name(f"{path.stem}-before.part")  # one name for all tries: they do not fill the disk
    unfinished.unlink(missing_ok=True)
    try:
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
    engine: Engine, path: Path | None, scripts: Path = MIGRATIONS, dumps: Path | None = None, tell: Tell = _silent
) -> Path | None:
    """Bring the database to this version; the copy that was made first, if one was: beside SQLite's file, of PostgreSQL in `dumps`.
    `tell` hears what is being done, and how far it is.

    ConfigurationError when it is of a newer version than this program; StorageFailed when the migration failed: then the database is as it was.
    """
    held, wanted = held_revision(engine), wanted_revision(scripts)
    if held == wanted:
        return None
    if held is not None:
        _known(held, scripts)
    return _move(engine, path, dumps, held, wanted, lambda config: command.upgrade(config, "head"), scripts, tell)


def migrate_back(engine: Engine, path: Path | None, dumps: Path | None = None) -> tuple[str, Path | None]:
    """Bring the database back by one version, for the program before this one; the revision that it is at then, and the copy.

    ConfigurationError when there is none before, or the database is not of this version; StorageFailed as from `migrate`.
    """
    held = held_revision(engine)
    before = None if held is None else _known(held, MIGRATIONS).down_revision
    if held is None or not isinstance(before, str):
        raise ConfigurationError(f"the database is at revision {held!r}, and there is none before it")
    return before, _move(engine, path, dumps, held, before, lambda config: command.downgrade(config, before))


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
) -> Path | None:
    """A copy, then one transaction that brings the database from `held` to `wanted`."""
    copy: Path | None = None
    if held is not None:
        tell(f"copying the database before it is brought from version {held} to {wanted}")
    if held is not None and path is not None:
        copy = _copy_before(path, wanted)
    elif held is not None and dumps is not None:
        copy = dump_before(engine.url, dumps, wanted)
    log.info("migrating the database from %s to %s", held, wanted)
    try:
        with engine.connect() as connection, connection.begin():
            run(_config(connection, scripts, tell))
    except Exception as error:
        where = f"; a copy from before is {copy}" if copy else ""
        raise StorageFailed(
            f"the migration from {held} to {wanted} failed, the database is as it was{where}: {error}"
        ) from error
    return copy
