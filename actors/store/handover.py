"""Frames of the write-ahead log copied aside before it is overwritten, so that backups can bring back any moment.

What is kept: nothing is moved from the log into the database before it was copied here (`Checkpointer` sees to it), so that the log never
begins at its head again with frames that were not copied. Whatever goes wrong here, the writer goes on: the chain of segments ends, that is
written down (`LOST`), and another begins. docs/adr/0022 says why it is done like this."""

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from actors.store.database import connect_sqlite, sync_folder
from perenne.log_segments import (
    CHAIN,
    CURRENT,
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    LOOKED,
    LOST,
    SEGMENT_FRAMES,
    Content,
    Segment,
    begun,
    digest_of,
    next_salts,
    page_bytes,
    waiting,
)

log = logging.getLogger(__name__)

SEALED = "sealed"  # a file: how the database was left by a writer that closed it with nothing in its log
PART = ".part"
WAITING_MOST_BYTES = 512 << 20  # of segments that nobody fetches; more, and the chain ends
TRIES = 20  # to see the log and the feed at one moment while others write
SEAL_WAIT_MS = 200
_HEAD = "SELECT seq, hlc >> 16 FROM changes ORDER BY seq DESC LIMIT 1"


class _Unsettled(Exception):
    """The log changed each time that it was looked at."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The log at one moment: its header, how many frames of it are committed, and the feed's head then."""

    header: bytes
    frames: int
    seq: int
    at_ms: int


class Handover:
    """One writer's. Any thread may call `copy`; nothing here raises what a full disk or a damaged file does. `room` says why nothing more
    should be written to the disk, None when there is room."""

    def __init__(
        self,
        path: Path,
        folder: Path,
        *,
        most_bytes: int = WAITING_MOST_BYTES,
        room: Callable[[], str | None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._folder, self._most = path, folder, most_bytes
        self._room, self._now = room, now
        self._log = path.with_name(path.name + "-wal")
        self._lock = threading.Lock()
        self._conn: Any = None
        self._last: Segment | None = None  # the newest of the chain that is gone on with
        self._chain = ""
        self._digest = begun()
        self._reopened = False
        self._lost = False

    @property
    def chain(self) -> str:
        """The chain that is gone on with; empty while there is none."""
        return self._chain

    @property
    def lost(self) -> bool:
        """A chain ended, and no other has begun yet."""
        return self._lost

    def begin(self) -> None:
        """Take up the chain that an earlier writer left, before anything else opens the database: the connection that is held from here on
        is what keeps SQLite from emptying the log when another one is closed."""
        with self._lock:
            try:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                for left in self._folder.glob(f"*{PART}"):
                    left.unlink()
                self._lost = (self._folder / LOST).exists()
                self._take_up()
                if self._path.exists():
                    self._connection()
            except Exception as error:
                self._lose(f"the writer could not take up the log: {error}")

    def _take_up(self) -> None:
        sealed = self._seal_holds()
        try:
            chain = (self._folder / CURRENT).read_text().strip()
        except FileNotFoundError:
            return
        of_chain = [each for each in waiting(self._folder) if each.chain == chain]
        if not CHAIN.fullmatch(chain) or not of_chain:
            self._lose("the last segment of the log that was copied is not there")
            return
        self._chain, self._last, self._reopened = chain, of_chain[-1], sealed == of_chain[-1].file_name
        self._digest = digest_of((self._folder / of_chain[-1].file_name).read_bytes())

    def _seal_holds(self) -> str:
        """The segment after which the database was closed whole, if nobody has written to it since."""
        seal = self._folder / SEALED
        try:
            said = orjson.loads(seal.read_bytes())
            seal.unlink()
            sync_folder(self._folder)
            untouched = said["database"] == _state(self._path) and (not self._log.exists() or self._log.stat().st_size == 0)
            return str(said["segment"]) if untouched else ""
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
            return ""

    def copy(self, *, begin: bool = False, wait: bool = True) -> bool:
        """Copy what was committed and is not copied yet. Afterwards (True) all of it is durably copied, or the chain was lost and nothing
        has to be. False: it can't be told now, or (without `wait`) another thread is at it: try again before the log is moved.
        `begin`: begin a chain where there is none."""
        if not self._lock.acquire(blocking=wait):
            return False
        try:
            if not self._chain and not begin:
                return True
            if not self._chain and (self._waiting_bytes() > self._most // 2 or self._room() is not None):
                return True  # until the keeper has fetched what waits
            self._copy()
        except _Unsettled:
            return False
        except Exception as error:
            self._lose(f"the log could not be copied: {error}")
        finally:
            self._lock.release()
        return True

    def expect_copied(self, moved: int) -> None:
        """Told how many frames of the log are in the database now: the chain is lost when one of them was not copied."""
        with self._lock:
            last = self._last
            if self._chain and last is not None and moved > last.last and self._salts() == last.salts:
                self._lose(
                    f"frames up to {moved} of the log were moved, and copied were {last.last}: something else moved them"
                )

    def lose(self, reason: str) -> None:
        """End the chain; the next one begins when it can."""
        with self._lock:
            self._lose(reason)

    def close(self, *, seal: bool) -> None:
        """Let go of the database. With `seal`, which needs that nobody writes any more, what is left is copied and moved first, so that the
        next writer goes on with the chain. Harmless twice."""
        if seal and self._conn is not None and self.copy() and self._chain:
            with self._lock:
                try:
                    self._seal()
                except Exception as error:
                    log.info("the next writer begins a new chain of the log: %s", error)
        with self._lock:
            conn, self._conn = self._conn, None
            if conn is not None:
                with contextlib.suppress(Exception):
                    conn.close()

    def _seal(self) -> None:
        self._conn.execute(f"PRAGMA busy_timeout={SEAL_WAIT_MS}").fetchall()
        busy, _, _ = self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy and self._last is not None:
            self._write(SEALED, orjson.dumps({"segment": self._last.file_name, "database": _state(self._path)}))

    # One copy

    def _copy(self) -> None:
        seen = self._look()
        if seen is None:
            self._looked()
            return
        salts, last = seen.header[16:24].hex(), self._last
        how, first = "follows", 1
        if not self._chain or last is None:
            how = "begins"
        elif salts == last.salts:
            first = last.last + 1
            if seen.frames < last.last:
                self._lose(f"the log has {seen.frames} frames, and {last.last} of them were copied")
                return
        elif self._reopened:
            how = "reopened"
        elif salts[:8] != next_salts(last.salts):
            self._lose("the log was begun anew by something else before all of it was copied")
            return
        if first > seen.frames:
            self._looked()
            return
        size = FRAME_HEADER_BYTES + page_bytes(seen.header)
        if self._waiting_bytes() + (seen.frames - first + 1) * size > self._most:
            self._lose(
                f"{self._most >> 20:,} MB of the log wait for the backups' target, which is away or full: no more is set aside"
            )
            return
        if (shortage := self._room()) is not None:
            self._lose(f"{shortage}. So the log is not kept beside the database")
            return
        if how == "begins":
            self._begin_chain()
        with self._log.open("rb") as file:
            while first <= seen.frames:
                upto = min(first + SEGMENT_FRAMES - 1, seen.frames)
                file.seek(HEADER_BYTES + (first - 1) * size)
                frames = file.read((upto - first + 1) * size)
                self._check(frames, size, seen, first, upto)
                self._keep(seen, frames, first, upto, how)
                first, how = upto + 1, "follows"
        self._looked()

    def _look(self) -> _Seen | None:
        """The log as it is now; None when it is empty: all that it held was copied, or there was nothing."""
        conn = self._connection()
        _head(conn)  # of a database that has just got its log, such as a restored one, a connection learns when it reads
        seen: _Seen | None = None
        for _ in range(TRIES):
            header, frames = self._header(), _frames(conn)
            seq, at_ms = _head(conn)
            again = _frames(conn)
            if header != self._header() or again < frames:
                continue
            if not again:
                return None
            seen = _Seen(header, again, seq, at_ms)
            if again == frames:
                return seen
        if seen is None:
            raise _Unsettled
        return seen  # others write without a pause: what is said of the feed is a little older

    def _check(self, frames: bytes, size: int, seen: _Seen, first: int, upto: int) -> None:
        """ValueError for what can't be committed frames of this log."""
        if len(frames) != (upto - first + 1) * size:
            raise ValueError(f"frames {first} to {upto} are not in the log")
        salts = seen.header[16:24]
        if any(frames[at + 8 : at + 16] != salts for at in range(0, len(frames), size)):
            raise ValueError(f"of frames {first} to {upto} some are of an older log")
        if upto == seen.frames and not any(frames[-size + 4 : -size + 8]):
            raise ValueError(f"frame {upto} ends no transaction")

    def _begin_chain(self) -> None:
        now = self._now()
        at = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f"{int(now * 1000) % 1000:03}"
        chain = f"{at}-{secrets.token_hex(4)}"
        self._write(CURRENT, chain.encode())
        (self._folder / LOST).unlink(missing_ok=True)
        self._chain, self._last, self._digest, self._lost = chain, None, begun(), False

    def _keep(self, seen: _Seen, frames: bytes, first: int, upto: int, how: Any) -> None:
        before, whole = self._last, upto == seen.frames
        segment = Segment(
            chain=self._chain,
            number=1 if before is None else before.number + 1,
            how=how,
            salts=seen.header[16:24].hex(),
            first=first,
            last=upto,
            seq=seen.seq if whole else 0 if before is None else before.seq,
            at_ms=seen.at_ms if whole else 0 if before is None else before.at_ms,
        )
        packed = Content(self._digest, seen.header, frames).packed()
        self._write(segment.file_name, packed)
        self._last, self._digest, self._reopened = segment, digest_of(packed), False

    # Small things

    def _connection(self) -> Any:
        if self._conn is None:
            self._conn = connect_sqlite(self._path, create=False, pragmas=("query_only=ON", "cache_size=-512", "mmap_size=0"))
            self._conn.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()  # from here on it counts among the log's users
        return self._conn

    def _header(self) -> bytes:
        """The log's header; empty while there is none. Its file may be opened and closed here: SQLite holds no lock on it."""
        try:
            with self._log.open("rb") as file:
                header = file.read(HEADER_BYTES)
        except FileNotFoundError:
            return b""
        return header if len(header) == HEADER_BYTES else b""

    def _salts(self) -> str:
        return self._header()[16:24].hex()

    def _waiting_bytes(self) -> int:
        found = 0
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # fetched just now
                found += entry.stat().st_size
        return found

    def _looked(self) -> None:
        (self._folder / LOOKED).touch(mode=0o600)

    def _write(self, name: str, data: bytes) -> None:
        """Whole or not at all, and durable."""
        part = self._folder / f"{name}{PART}"
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        sync_folder(self._folder)

    def _lose(self, reason: str) -> None:
        if self._chain or not self._lost:
            log.warning("moments of the database can't be brought back from here to the next backup: %s", reason)
        self._chain, self._last, self._digest, self._reopened, self._lost = "", None, begun(), False, True
        with contextlib.suppress(OSError):
            (self._folder / CURRENT).unlink(missing_ok=True)
            (self._folder / LOST).write_text(reason)


def _frames(conn: Any) -> int:
    """How many frames of the log are committed."""
    frames = int(conn.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()[1])
    if frames < 0:
        raise _Unsettled
    return frames


def _head(conn: Any) -> tuple[int, int]:
    """The feed's last number and its time in ms; zeros before there is one."""
    try:
        row = conn.execute(_HEAD).fetchone()
    except Exception:  # no such table: before the first migration
        return 0, 0
    return (0, 0) if row is None else (int(row[0]), max(0, int(row[1])))


def _state(path: Path) -> list[int]:
    """What changes with every write to a file."""
    found = path.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns]
