"""The database brought to this version at boot, after a copy; or left whole, and said so."""

import logging
import os
import time
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine

from actors.store.database import connect_sqlite, sync_folder
from perenne.errors import ConfigurationError, StorageFailed

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
COPIES_KEPT = 2


def _config(connection: Any = None, scripts: Path = MIGRATIONS) -> Config:
    config = Config()
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


def migrate(engine: Engine, path: Path | None, scripts: Path = MIGRATIONS) -> Path | None:
    """Bring the database to this version; the copy that was made first, if one was.

    ConfigurationError when it is of a newer version than this program; StorageFailed when the migration failed: then the database is as it was.
    """
    held, wanted = held_revision(engine), wanted_revision(scripts)
    if held == wanted:
        return None
    if held is not None:
        try:
            ScriptDirectory.from_config(_config(scripts=scripts)).get_revision(held)
        except CommandError as error:
            raise ConfigurationError(
                f"the database is at revision {held!r}, which this version of Perenne does not know; run the version that wrote it"
            ) from error
    copy = _copy_before(path, wanted) if held is not None and path is not None else None
    log.info("migrating the database from %s to %s", held, wanted)
    try:
        with engine.connect() as connection, connection.begin():
            command.upgrade(_config(connection, scripts), "head")
    except Exception as error:
        where = f"; a copy from before is {copy}" if copy else ""
        raise StorageFailed(
            f"the migration from {held} to {wanted} failed, the database is as it was{where}: {error}"
        ) from error
    return copy
