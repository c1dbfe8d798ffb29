"""The database brought back by one version, so that the program before this one can read it. The instance must be down: the writer's lock
is taken while it runs. `perenne upgrade --rollback` is this with a backup first (`cluster.upgrading`)."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from actors.store.cutting import row_counts
from actors.store.database import reading_engine, sqlite_path, writing_engine
from actors.store.lock import WriterLock
from actors.store.migrate import Safeguard, Tell, earlier_versions, held_revision, migrate_back, version_before, wanted_revision
from actors.store.postgresql import hold_writer_lock
from perenne.errors import ConfigurationError
from perenne.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Of the database: `held` (None: there is none yet), what this program needs, the one before that which is held, and all before it.
    `known`: whether this program knows what is held."""

    held: str | None
    wanted: str
    before: str | None = None
    earlier: frozenset[str] = frozenset()
    known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WentBack:
    """From which version to which; the copy that was made first, if one was; `lost`: rows of the tables that the version before has not."""

    held: str
    before: str
    copy: Path | None
    lost: dict[str, int] = field(default_factory=dict[str, int])


def versions(url: str) -> Versions:
    """Reads only. Unavailable when the database is away."""
    wanted, path = wanted_revision(), sqlite_path(url)
    if path is not None and not path.exists():
        return Versions(held=None, wanted=wanted)
    engine = reading_engine(url)
    held = held_revision(engine)
    try:
        before = version_before(engine)
    except ConfigurationError:
        return Versions(held=held, wanted=wanted, known=False)
    earlier = frozenset[str]() if held is None else earlier_versions(held)
    return Versions(held=held, wanted=wanted, before=before, earlier=earlier)


def go_back(settings: Settings, guard: Safeguard | None = None, tell: Tell = lambda _: None) -> WentBack:
    """One version, in one transaction: whatever ends it leaves the database at the one or at the other. ConfigurationError when there is none
    before; Unavailable while an instance writes to it; StorageFailed as from `migrate_back`."""
    url = settings.database_url
    path, engine = sqlite_path(url), writing_engine(url)
    with _held(path, engine):
        held, rows = held_revision(engine), _rows(engine)
        before, copy = migrate_back(engine, path, settings.path("store"), tell, guard)
        after = _rows(engine)
    lost = {table: count for table, count in rows.items() if count and table not in after}
    return WentBack(held=str(held), before=before, copy=copy, lost=lost)


@contextlib.contextmanager
def _held(path: Path | None, engine: Engine) -> Iterator[None]:
    """The writer's lock, as long as this lasts."""
    if path is None:
        with engine.connect() as session:
            hold_writer_lock(session)
            yield
        return
    lock = WriterLock(path.with_suffix(".lock"))
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _rows(engine: Engine) -> dict[str, int]:
    with engine.connect() as conn, conn.begin():
        return row_counts(conn)
