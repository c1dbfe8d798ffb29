"""The write-ahead log kept short: moved into the database aside from the writer, cut off when that didn't keep up."""

import contextlib
import logging
import threading
import time
from pathlib import Path
from typing import Any

from actors.store.database import BUSY_TIMEOUT_MS, connect_sqlite
from actors.store.handover import Handover

log = logging.getLogger(__name__)

PASSIVE_BYTES = 8 << 20  # of log that is not in the database yet: from here it is moved there while writing goes on
LOOK_S = 0.25  # between looks at a log that is this long: its file keeps its length, what of it is moved has to be asked
TRUNCATE_BYTES = 256 << 20  # from here the writer waits until all is moved, then cuts the log off
CUT_WAIT_MS = 200  # that all writers wait for a reader before the log is cut off; it is let grow instead
CUT_AGAIN_S = 5.0
COPY_S = 10.0  # between two copies of what was committed, where the log is copied for the backups
COPIED_REST_BYTES = 32 << 20  # of log whose last part is copied and moved by the writer itself, which costs it a flush more


class Checkpointer:
    """Watches one SQLite database's log, and is the only one that moves it. `due` is called by the writer between transactions. Where there
    is a `handover`, nothing is moved before it was copied there."""

    def __init__(self, path: Path, handover: Handover | None = None) -> None:
        self._path, self._handover = path, handover
        self._log = path.with_name(path.name + "-wal")
        self._wanted = threading.Event()
        self._closing = False
        self._looked_at = 0.0
        self._cut_again_at = 0.0
        self._rest_left = False  # most of the log is moved; what was written meanwhile is not
        self._thread = threading.Thread(target=self._run, name="store-checkpoint", daemon=True)
        self._thread.start()

    def log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def due(self, raw: Any) -> None:
        """Ask for a move when the log is long; cut it off over the writer's own connection `raw` when it is far too long. What was
        written during a move is moved here, where nobody writes: only after a whole move does the log begin at its head again."""
        size = self.log_bytes()
        if self._rest_left and (self._handover is None or (size >= COPIED_REST_BYTES and self._handover.copy(wait=False))):
            self._rest_left = False
            moved = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[2]
            if self._handover is not None:
                self._handover.expect_copied(moved)
        if size >= TRUNCATE_BYTES and time.monotonic() >= self._cut_again_at and self._may_cut(size):
            raw.execute(f"PRAGMA busy_timeout={CUT_WAIT_MS}").fetchall()
            try:
                busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}").fetchall()
            if busy:  # while a backup copies the database, for minutes perhaps
                self._cut_again_at = time.monotonic() + CUT_AGAIN_S
                log.warning("the log of %s has %d MB and a reader holds on to it", self._path, size >> 20)
        elif size >= PASSIVE_BYTES and time.monotonic() - self._looked_at >= LOOK_S:
            self._looked_at = time.monotonic()
            self._wanted.set()

    def _may_cut(self, size: int) -> bool:
        """A copy that is under way is not waited for, unless the log has become twice as long meanwhile."""
        if size >= 2 * TRUNCATE_BYTES:
            self.copy_all()
        return self._handover is None or self._handover.copy(wait=False)

    def copy_all(self) -> None:
        """For the writer, before it moves all of the log itself: afterwards that loses no frame which the backups count on."""
        if self._handover is not None and not self._handover.copy():
            self._handover.lose("the log had to be moved before it could be copied")

    def _run(self) -> None:
        connection: Any = None
        while True:
            self._wanted.wait(None if self._handover is None else COPY_S)
            self._wanted.clear()
            if self._closing:
                break
            try:
                if self._handover is not None:
                    self._handover.copy(begin=True)
                if connection is None:
                    connection = connect_sqlite(self._path, create=False, pragmas=("synchronous=FULL",))
                if _unmoved_bytes(connection) >= (1 if self._handover is not None and self._rest_left else PASSIVE_BYTES):
                    self._move(connection)
            except Exception as error:  # a full disk: the log stays, the writer will say so itself
                log.warning("moving the log into %s failed: %s", self._path, error)
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _move(self, connection: Any) -> None:
        """Aside from the writer, which goes on. A reader that begins before the copy keeps the move from going further than the copy does: up
        to what that reader sees, and the log from beginning anew meanwhile (sqlite.org/wal.html#ckpt)."""
        if self._handover is None:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        else:
            with contextlib.closing(
                connect_sqlite(self._path, create=False, pragmas=("query_only=ON", "mmap_size=0"))
            ) as guard:
                guard.execute("BEGIN")
                guard.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
                if not self._handover.copy():
                    return
                self._handover.expect_copied(connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[2])
        self._rest_left = True

    def close(self) -> None:
        """Stop. Harmless twice."""
        self._closing = True
        self._wanted.set()
        self._thread.join(timeout=10.0)


def _unmoved_bytes(connection: Any) -> int:
    """How much of the log is not in the database yet (sqlite.org/pragma.html#pragma_wal_checkpoint, NOOP)."""
    _, frames, moved = connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    return (frames - moved) * int(connection.execute("PRAGMA page_size").fetchone()[0])
