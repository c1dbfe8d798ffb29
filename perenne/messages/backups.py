"""What backups are told of: the cut of a database, backups themselves, checks, drills and schedules."""

from dataclasses import dataclass
from typing import Literal

DatabaseKind = Literal["sqlite", "postgresql"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAnswer:
    """What a search by words found: the passages' ids, best first."""

    user_id: str
    query: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorAnswer:
    """The passages nearest to one passage among all of its space, by an exact scan: ids and scores, best first."""

    space: str
    chunk_id: int
    ids: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One moment of the database, copied to `file` in the folder that was named. `seq` and `origin`: the feed's head at that moment;
    `counts`: rows by table; `blobs`: the files that its rows name; `texts` and `vectors`: what it answers to some questions; `log`: the
    place in SQLite's log that it is at, from which the log carries it on."""

    kind: DatabaseKind
    file: str
    revision: str
    origin: str
    seq: int
    at: float
    counts: dict[str, int]
    blobs: tuple[str, ...]
    texts: tuple[TextAnswer, ...] = ()
    vectors: tuple[VectorAnswer, ...] = ()
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutChecked:
    """A copy compared with what its cut recorded. `faults`: in words, empty when all is as it was."""

    rows: int
    texts: int
    vectors: int
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A listed backup: it was written whole. `seq` and `origin` say how far the feed was; `size_bytes` is what it holds, `new_bytes` what it
    added to the target. `purpose`: scheduled, manual or before-migration, then with the database's version that it was brought to right
    after it (`migrated_to`; it holds `revision`). `version`: of the program that made it."""

    id: str
    created_at: float
    kind: DatabaseKind
    revision: str
    origin: str
    seq: int
    documents: int
    passages: int
    files: int
    size_bytes: int
    new_bytes: int
    missing: int = 0
    purpose: str = ""
    version: str = ""
    migrated_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreSteps:
    """What is typed, line by line, on the instance's PC to bring its home back as it was when the backup was made."""

    backup: Backup
    commands: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupVerified:
    """Every piece of a backup read and compared with its hash. `faults`: in words, empty when all are whole."""

    id: str
    ok: bool
    pieces: int
    size_bytes: int
    took_s: float
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupMade:
    """A backup that was written and then verified; `removed`: older ones whose time was over."""

    backup: Backup
    verified: BackupVerified
    took_s: float
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillDone:
    """A backup restored into a scratch folder and compared with what was recorded when it was made."""

    backup_id: str
    ok: bool
    at: float
    took_s: float
    rows: int = 0
    files: int = 0
    texts: int = 0
    vectors: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleResult:
    """How the last run of a schedule ended. `detail` is for people; `faults`: what was found to be wrong, in words."""

    began_at: float
    ended_at: float
    ok: bool
    detail: str
    backup_id: str = ""
    asked: bool = False  # by somebody, not by the clock
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Work that is done by the clock. `cron`: when, in the PC's own time; empty: never by itself. `running_since`: it is under way;
    `progress` says how far. `good`: the last result that was well."""

    name: str
    cron: str
    next_at: float | None = None
    running_since: float | None = None
    progress: str = ""
    last: ScheduleResult | None = None
    good: ScheduleResult | None = None
