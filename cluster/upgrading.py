"""The database's version and the way back to the one before, with no instance running."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from actors.backups.before import before_version
from actors.backups.contents import shown
from actors.backups.repository import Repository, Summary
from actors.store.back import Versions, WentBack, go_back, versions
from actors.store.database import sqlite_path
from actors.store.guarding import Guard, Make, make_apart
from actors.store.restored import counted, moment_of
from cluster.instance import HomeLock
from cluster.processes import of_instance
from cluster.restoring import Restored, restore
from cluster.unfinished import finish
from cluster.version import version
from perenne.errors import Conflict, NotFound, PerenneError, StorageFailed
from perenne.messages.backups import Backup, ScheduleResult
from perenne.schedules import BEFORE, read_schedule
from perenne.settings import Settings

TOLD = ("documents", "chunks", "conversations", "messages", "projects")  # tables whose rows are counted for people

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How it stands: the program's version, the database's, and the backup that was made before it came to that one. `trouble`: why the
    backups can't be looked at."""

    version: str
    database: Versions
    running: bool
    target: str
    backup: Backup | None = None
    trouble: str = ""
    last: ScheduleResult | None = None  # how the backup before the last migration ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What goes when the backup takes the database's place: so many changes; rows by table, then and now."""

    backup: Backup
    changes: int
    rows: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """`backup_id`: of the database as it was right before; empty where a copy (`went.copy`) had to do."""

    went: WentBack
    backup_id: str = ""


def standing(settings: Settings) -> Standing:
    """Reads only, also beside a running instance. Unavailable when the database is away."""
    database, schedule = versions(settings.database_url), read_schedule(settings.home, BEFORE)
    backup, trouble = None, ""
    if database.held is not None:
        try:
            found = _found(settings, database)
            backup = None if found is None else shown(found)
        except PerenneError as error:
            trouble = str(error)
    return Standing(
        version=version(),
        database=database,
        running=HomeLock(settings.home).holder() is not None,
        target=settings.backups_target,
        backup=backup,
        trouble=trouble,
        last=None if schedule is None else schedule.last,
    )


def roll_back(settings: Settings, tell: Tell, make: Make = make_apart) -> RolledBack:
    """Bring the database back by one version; what was written since stays, but for what that version has no place for. A backup of it as
    it is comes first. Whatever ends this leaves the database at the one version or at the other, whole: then the same again goes on.

    Conflict while an instance runs; ConfigurationError when there is no version before."""
    with alone(settings):
        _there(settings)
        guard = Guard(settings, make)
        went = go_back(settings, guard, tell)
        return RolledBack(went=went, backup_id=guard.kept or "")


def would_lose(settings: Settings) -> Loss:
    """What a restore of the backup from before the version that is held would lose. NotFound when there is none."""
    database = _there(settings)
    found = _found(settings, database)
    if found is None:
        raise NotFound("backup", f"made before version {database.held} of this very database, in {settings.backups_target}")
    seq, rows = counted(settings.database_url)
    counts = found.cut.counts
    told = {table: (counts.get(table, 0), rows.get(table, 0)) for table in TOLD if table in rows}
    return Loss(backup=shown(found), changes=max(0, seq - found.cut.seq), rows=told)


def restore_before(settings: Settings, loss: Loss, tell: Tell, make: Make = make_apart) -> Restored:
    """Restore that backup over this home. Whatever ends this leaves the old database or the new one, whole; the old one is kept: of SQLite
    as a file beside it, of PostgreSQL as a backup, without which nothing is changed."""
    url = settings.database_url
    if sqlite_path(url) is None:
        with alone(settings):
            guard = Guard(settings, make)
            if guard.keep(loss.backup.migrated_to, loss.backup.revision, tell) is None:
                raise StorageFailed(f"nothing was changed, for {guard.failed}")
    return restore(settings, settings.backups_target, settings.backups.passphrase, loss.backup.id, force=True, tell=tell)


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Nothing else runs on this home while this lasts; a restore that was cut off is completed first. Conflict."""
    lock = HomeLock(settings.home)
    if lock.holder() is not None:
        raise Conflict(f"an instance is already running on {settings.home}: end it first, with `perenne down`")
    lock.take()
    try:
        if left := of_instance(settings.ray_dir):
            raise Conflict(f"{len(left)} processes of an instance of this home still run: end them with `perenne down`")
        finish(settings)
        yield
    finally:
        lock.release()


def _there(settings: Settings) -> Versions:
    database = versions(settings.database_url)
    if database.held is None:
        raise Conflict(f"{settings.home} has no database yet: there is nothing to roll back")
    return database


def _found(settings: Settings, database: Versions) -> Summary | None:
    origin, _ = moment_of(settings.database_url)
    open_ = partial(Repository.open, settings.backups_target, settings.backups.passphrase)
    try:
        with open_() as repository:
            return before_version(repository.list(), origin=origin, held=str(database.held), earlier=database.earlier)
    except NotFound:  # there was no backup yet
        return None
