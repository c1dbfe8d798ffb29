"""A home that is new while its backups are not: whether `perenne up` begins from one of them. Whoever sits at the terminal is asked; nobody
else is kept waiting, and is told what to type."""

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cluster.findings import program
from cluster.unfinished import SCRATCH
from perenne.errors import NotFound, PerenneError
from perenne.messages.backups import Backup
from perenne.schedules import age_words
from perenne.settings import Settings

SHOWN = 5
LOOK_S = 20.0  # a target that does not answer does not keep the instance from starting

Tell = Callable[[str], None]
Ask = Callable[[str], str]


def is_new(settings: Settings) -> bool:
    """Whether nothing was ever kept in this home. Cheap where something was: every start looks."""
    if settings.path("key").exists() or settings.path(SCRATCH).exists():
        return False
    if settings.store.url is None:
        return not settings.path("store", "perenne.db").exists()
    from actors.store.restored import holds_rows

    try:
        return not holds_rows(settings.database_url)
    except PerenneError:  # it is away: the start says so
        return False


def may_hold_backups(settings: Settings) -> bool:
    """Whether it is worth a look: a target was named, or the home's own folder for them is there."""
    return settings.backups.target is not None or settings.path("backups").exists()


def backups_of(settings: Settings, within_s: float = LOOK_S) -> tuple[Backup, ...]:
    """The newest first; none where there was none yet. Raises what the target says; Unavailable when it says nothing for so long."""
    from actors.backups.contents import shown
    from actors.backups.repository import Repository
    from perenne.errors import Unavailable

    found: list[Backup] = []
    failed: list[Exception] = []

    def look() -> None:
        try:
            with Repository.open(settings.backups_target, settings.backups.passphrase) as repository:
                found.extend(shown(each) for each in repository.list())
        except NotFound:
            pass
        except Exception as error:
            failed.append(error)

    looking = threading.Thread(target=look, name="backups", daemon=True)
    looking.start()
    looking.join(within_s)
    if failed:
        raise failed[0]
    if looking.is_alive():
        raise Unavailable("the backups' target", 60.0, f"it did not answer within {within_s:g} s")
    return tuple(found)


def offered(settings: Settings, ask: Ask | None, tell: Tell) -> str | None:
    """The id of the backup that a new home is to begin from; None to begin with nothing, which is what anything but a yes means."""
    if not (is_new(settings) and may_hold_backups(settings)):
        return None
    try:
        backups = backups_of(settings)
    except PerenneError as error:
        tell(f"this home is new, and whether {settings.backups_target} holds backups can't be seen: {error}")
        return None
    if not backups:
        return None
    if ask is None:
        tell(
            f"this home is new, and {settings.backups_target} holds {_count(backups)}, the newest of {age_words(backups[0].created_at)}: "
            f"to begin from it, {program()} down, then {program()} backup restore {backups[0].id}, then {program()} up"
        )
        return None
    tell(f"this home is new, and {settings.backups_target} holds {_count(backups)}:")
    for backup in backups[:SHOWN]:
        tell(f"  {line(backup)}")
    if ask(f"Begin from the newest, {backups[0].id}? [y/N] ").strip().lower() in ("y", "yes"):
        return backups[0].id
    tell(f"it begins with nothing; later: {program()} down, then {program()} up --restore [BACKUP]")
    return None


def begin_from(settings: Settings, backup_id: str | None, tell: Tell) -> None:
    """Restore a backup, the newest without an id, into this home, which holds nothing yet (Conflict). Whatever ends it leaves the home as it
    was, or whole and new."""
    from cluster.restoring import restore

    Path(settings.home).mkdir(mode=0o700, parents=True, exist_ok=True)
    done = restore(settings, settings.backups_target, settings.backups.passphrase, backup_id, force=False, tell=tell)
    tell(
        f"{settings.home} is as it was {datetime.fromtimestamp(done.backup.created_at):%Y-%m-%d %H:%M:%S}: {line(done.backup)}"
    )


def line(backup: Backup) -> str:
    """One backup in a list."""
    made = f"{datetime.fromtimestamp(backup.created_at):%Y-%m-%d %H:%M}"
    return f"{backup.id}  {made}  {backup.documents:,} documents, {backup.size_bytes / 1e6:,.1f} MB"


def _count(backups: tuple[Backup, ...]) -> str:
    return "one backup" if len(backups) == 1 else f"{len(backups):,} backups"
