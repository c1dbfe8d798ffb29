"""The database brought back by one version, so that the program before this one can read it: `python -m actors.store.back`.

The instance must be down (`perenne down`): the writer's lock is taken while it runs.
"""

import sys

from actors.store.database import sqlite_path, writing_engine
from actors.store.lock import WriterLock
from actors.store.migrate import migrate_back
from actors.store.postgresql import hold_writer_lock
from perenne.errors import PerenneError
from perenne.settings import Settings, load_settings


def go_back(settings: Settings) -> str:
    """What was done, in a sentence."""
    path = sqlite_path(settings.database_url)
    engine = writing_engine(settings.database_url)
    if path is not None:
        lock = WriterLock(path.with_suffix(".lock"))
        lock.acquire()
        try:
            before, copy = migrate_back(engine, path)
        finally:
            lock.release()
    else:
        with engine.connect() as session:
            hold_writer_lock(session)
            before, copy = migrate_back(engine, None, settings.path("store"))
    return f"The database is at revision {before}. " + (f"A copy from before is {copy}." if copy else "No copy was made.")


def main() -> int:
    try:
        sys.stdout.write(go_back(load_settings()) + "\n")
    except PerenneError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
