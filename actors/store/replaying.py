"""A copy of an SQLite database carried on to a later moment by what its log held. SQLite itself reads the log: it checks each frame, and this
checks that it took all of them."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from actors.store.cutting import faults_of
from actors.store.database import connect_sqlite, sqlite_module
from perenne.errors import BackupDamaged, InvalidRequest
from perenne.log_segments import FRAME_HEADER_BYTES, HEADER_BYTES, page_bytes


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a database is: its feed's last number, when that was, and its origin."""

    seq: int
    at_ms: int
    origin: str


def replay(
    database: Path, logs: Sequence[Path], frame: int, seq: int, *, to_seq: int | None = None, to_ms: int | None = None
) -> Moment:
    """Carry a copy, which has the first `frame` frames of the first of `logs` and was at `seq`, on to the last commit at or before a number of
    the feed or a time. If this returns, the file is one whole database of that moment and SQLite finds nothing wrong with it. If it
    raises, the file is of no use: BackupDamaged for what is not what the log was; InvalidRequest when the copy itself is later."""

    def within(moment: Moment) -> bool:
        return moment.seq <= to_seq if to_seq is not None else moment.at_ms <= (to_ms or 0)

    _without_log(database)
    began = _moment(database)
    if logs:
        began = _at(database, logs[0], frame)  # the same, unless the log is another's
    if began.seq != seq:
        raise BackupDamaged("its log", f"at frame {frame} it is at change {began.seq}, and the backup was made at {seq}")
    if not within(began):
        raise InvalidRequest("what was asked for is before this backup: name an older one, or leave its name out", "at")
    reached = began
    for number, log in enumerate(logs):
        commits = [each for each in _commits(log) if each >= (frame if number == 0 else 1)]
        if not commits and number == len(logs) - 1:
            break  # what is there ends amid its first transaction
        if not commits:
            raise BackupDamaged(log.name, "no transaction ends in it")
        low, high = -1, len(commits)  # within, not within
        ended = _at(database, log, commits[-1])
        if within(ended):
            low = len(commits) - 1
        else:
            high = len(commits) - 1
            low = 0 if number == 0 else -1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if within(_at(database, log, commits[middle])) else (low, middle)
        if low >= 0:
            reached = _fold(database, log, commits[low])
        if reached.origin != began.origin:
            raise BackupDamaged(log.name, "it is of another database")
        if low < len(commits) - 1:
            break
    if reached.seq < seq or not within(reached):
        raise BackupDamaged("its log", f"it leads to change {reached.seq}, which was not asked for")
    if faults := faults_of(database):
        raise BackupDamaged("the database of that moment", "; ".join(faults[:3]))
    _without_log(database)
    return reached


def _commits(log: Path) -> Iterator[int]:
    """The frames that end a transaction (sqlite.org/fileformat2.html#walformat)."""
    with log.open("rb") as file:
        size = page_bytes(file.read(HEADER_BYTES)) + FRAME_HEADER_BYTES
        for number in range(1, (log.stat().st_size - HEADER_BYTES) // size + 1):
            file.seek(HEADER_BYTES + (number - 1) * size)
            if any(file.read(8)[4:]):
                yield number


@contextlib.contextmanager
def _laid(database: Path, log: Path, frames: int) -> Iterator[None]:
    """So many frames of a log beside the database, for as long as they are looked at; BackupDamaged for whatever SQLite says of them."""
    _put(database, log, frames)
    try:
        yield
    except BackupDamaged:
        raise
    except Exception as error:
        raise BackupDamaged(log.name, f"SQLite can't read it: {error}") from error
    finally:
        _without_log(database)


def _at(database: Path, log: Path, frames: int) -> Moment:
    """Where the database is after so many frames of a log; it stays as it is."""
    with _laid(database, log, frames):
        connection = sqlite_module().connect(f"file:{quote(str(database.absolute()))}?mode=ro", uri=True, isolation_level=None)
        with contextlib.closing(connection):
            moment = _read(connection)
            _expect(connection, log, frames)
            return moment


def _fold(database: Path, log: Path, frames: int) -> Moment:
    """Move so many frames of a log into the database."""
    with (
        _laid(database, log, frames),
        contextlib.closing(connect_sqlite(database, create=False, pragmas=("synchronous=OFF",))) as connection,
    ):
        moment = _read(connection)
        _expect(connection, log, frames)
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise BackupDamaged(log.name, "it could not be moved into the database")
        return moment


def _put(database: Path, log: Path, frames: int) -> None:
    _without_log(database)
    with log.open("rb") as file, database.with_name(f"{database.name}-wal").open("wb") as copy:
        left = HEADER_BYTES + frames * (page_bytes(file.read(HEADER_BYTES)) + FRAME_HEADER_BYTES)
        file.seek(0)
        if left > os.fstat(file.fileno()).st_size:
            raise BackupDamaged(log.name, f"it has not the {frames} frames that it should have")
        while left and (part := file.read(min(left, 1 << 20))):
            copy.write(part)
            left -= len(part)


def _expect(connection: Any, log: Path, frames: int) -> None:
    taken = connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()[1]
    if taken != frames:
        raise BackupDamaged(log.name, f"of its {frames} frames SQLite took {taken}: what follows is not what was written")


def _moment(database: Path) -> Moment:
    try:
        with contextlib.closing(connect_sqlite(database, create=False, pragmas=("query_only=ON",))) as connection:
            return _read(connection)
    except Exception as error:
        raise BackupDamaged(database.name, f"SQLite can't read it: {error}") from error
    finally:
        _without_log(database)


def _read(connection: Any) -> Moment:
    head = connection.execute("SELECT seq, hlc >> 16 FROM changes ORDER BY seq DESC LIMIT 1").fetchone() or (0, 0)
    origin = connection.execute("SELECT value FROM meta WHERE name = 'origin'").fetchone() or ("",)
    return Moment(int(head[0]), int(head[1]), str(origin[0]))


def _without_log(database: Path) -> None:
    for ending in ("-wal", "-shm"):
        database.with_name(f"{database.name}{ending}").unlink(missing_ok=True)
