"""What was acknowledged last, noted in a file beside SQLite's database, so that a database that lost it says so.

SQLite reads its log up to the first frame that doesn't match its checksum and drops the rest without a word, commits that were acknowledged
among it. The note is written after each commit and before its answer, and flushed when nothing else is to be done: so it is never ahead of
the database, it costs no answer a flush, and only a cut of power can leave an older one. docs/adr/0024 says why it is done like this."""

import contextlib
import hashlib
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uuid_utils

from actors.store.database import connect_sqlite, sync_folder
from actors.store.lock import WriterLock
from perenne.errors import ConfigurationError, StorageFailed, Unavailable

log = logging.getLogger(__name__)

NOTE_BYTES_MAX = 4_096  # a command's id has 500 characters at most
_EMPTY = {"origin": None, "epoch": 0, "seq": 0}


@dataclass(frozen=True, slots=True)
class Note:
    """The origin and epoch of the writer, the feed's head, and the last command, all of a transaction that is on disk; when that was."""

    origin: str
    epoch: int
    seq: int
    command_id: str
    at: float


def note_path(database: Path) -> Path:
    return database.with_suffix(".acknowledged")


def _whole(note: Note) -> bytes:
    body = orjson.dumps(note)
    return hashlib.blake2b(body, digest_size=8).hexdigest().encode() + b" " + body + b"\n"


def read_note(database: Path) -> Note | None:
    """None when there is none, or it is torn: then nothing can be said."""
    try:
        with note_path(database).open("rb") as file:
            line = file.read(NOTE_BYTES_MAX)
    except FileNotFoundError:
        return None
    digest, _, body = line.partition(b"\n")[0].partition(b" ")
    if hashlib.blake2b(body, digest_size=8).hexdigest().encode() != digest:
        log.warning("%s is torn or damaged: what was acknowledged last is not known", note_path(database))
        return None
    return Note(**orjson.loads(body))


class LastAcknowledged:
    """The one writer's. `check` before anything is written; then `note` in the writer's thread."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptor: int | None = None
        self._flushed = True
        self._held: Note | None = None

    @property
    def command_id(self) -> str:
        """As long as this is noted, its row must stay; none before this writer's first."""
        return "" if self._held is None else self._held.command_id

    def check(self) -> None:
        """StorageFailed when the database has not all that was acknowledged. It is not written to then, and its log is kept aside."""
        note = read_note(self._database)
        if note is None or not self._database.exists():  # a database that was taken away begins anew
            return
        with contextlib.closing(connect_sqlite(self._database, create=False, pragmas=())) as connection:
            try:
                missing = _missing(connection, note)
            except Exception as error:
                raise Unavailable("the database", 1.0, f"{self._database} can't be read: {error}") from error
            if missing is None:
                return
            kept = self._keep_log(note)  # while it is open: the last to close it removes the log
        raise StorageFailed(
            f"the database lost what was acknowledged: {missing}. Its file or its log is damaged, or an older copy took its place. "
            f"{kept}Nothing is written to it. Bring a backup back: perenne down, then perenne backup restore --force. "
            "Or go on without what is lost: perenne down, then perenne database accept-loss"
        )

    def _keep_log(self, note: Note) -> str:
        """A copy of the log, one however often this is found."""
        written = self._database.with_name(self._database.name + "-wal")
        kept = self._database.with_name(f"{self._database.stem}-lost-{note.epoch}-{note.seq}.db-wal")
        try:
            if not kept.exists() and written.exists() and written.stat().st_size:
                shutil.copyfile(written, kept)
                kept.chmod(0o600)
        except OSError as error:
            log.warning("the log can't be kept as %s: %s", kept, error)
        return f"What is in its log is kept as {kept}. " if kept.exists() else ""

    def note(self, origin: str, epoch: int, seq: int, command_id: str) -> None:
        """After the commit, before the answer. What the disk refuses is no reason to take the commit back: an older note stays."""
        self._held = Note(origin, epoch, seq, command_id or self.command_id, time.time())
        try:
            if self._descriptor is None:
                self._descriptor = os.open(note_path(self._database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._descriptor, _whole(self._held), 0)
            self._flushed = False
        except OSError as error:
            log.warning("what was acknowledged last can't be noted: %s", error)

    def flush(self) -> None:
        """Bring the note to the disk; when nobody waits."""
        if self._descriptor is not None and not self._flushed:
            try:
                os.fdatasync(self._descriptor)
                self._flushed = True
            except OSError as error:
                log.warning("what was acknowledged last can't be flushed: %s", error)

    def close(self) -> None:
        """Harmless twice."""
        self.flush()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _missing(connection: Any, note: Note) -> str | None:
    """What of the note the database does not have. A later epoch was committed after all of an earlier one, so that is there then."""
    held: dict[str, Any] = dict(_EMPTY)
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        held |= dict(connection.execute("SELECT name, value FROM meta WHERE name IN ('origin', 'epoch')").fetchall())
        held["seq"] = connection.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()[0]
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(note.at))
    if held["origin"] is None:
        return f"there is nothing in it, and {note.seq} changes were acknowledged, the last at {at}"
    if held["origin"] != note.origin or int(held["epoch"]) > note.epoch:  # another database: a restored one
        return None
    if held["seq"] < note.seq:
        return f"its last change is {held['seq']}, and {note.seq} were acknowledged, the last at {at}"
    if int(held["epoch"]) < note.epoch or not _knows(connection, note.command_id):
        return f"the command {note.command_id} that was acknowledged at {at} is not in it"
    return None


def _knows(connection: Any, command_id: str) -> bool:
    return not command_id or connection.execute("SELECT 1 FROM commands WHERE id = ?", (command_id,)).fetchone() is not None


def accept_loss(database: Path) -> str | None:
    """Go on without what is lost: what that is, or None when nothing is. The database begins a new origin, so that no index takes
    changes to come for those that are lost. Unavailable when an instance runs on it; ConfigurationError when there is none."""
    if not database.exists():
        raise ConfigurationError(f"there is no database at {database}")
    lock = WriterLock(database.with_suffix(".lock"))
    lock.acquire()
    try:
        note = read_note(database)
        with contextlib.closing(connect_sqlite(database, create=False, pragmas=("synchronous=FULL",))) as connection:
            missing = None if note is None else _missing(connection, note)
            if missing is None:
                return None
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                connection.execute("UPDATE meta SET value = ? WHERE name = 'origin'", (uuid_utils.uuid4().hex,))
        note_path(database).unlink(missing_ok=True)
        sync_folder(database.parent)
        return missing
    finally:
        lock.release()
