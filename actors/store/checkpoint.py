"""The write-ahead log kept short: moved into the database aside from the writer, cut off when that didn't keep up."""

import contextlib
import logging
import threading
import time
from pathlib import Path
from typing import Any

from actors.store.database import BUSY_TIMEOUT_MS, connect_sqlite

log = logging.getLogger(__name__)

PASSIVE_BYTES = 8 << 20  # of log that is not in the database yet: from here it is moved there while writing goes on
LOOK_S = 0.25  # between looks at a log that is this long: its file keeps its length, what of it is moved has to be asked
TRUNCATE_BYTES = 256 << 20  # from here the writer waits until all is moved, then cuts the log off
CUT_WAIT_MS = 200  # that all writers wait for a reader before the log is cut off; it is let grow instead
CUT_AGAIN_S = 5.0


class Checkpointer:
    """Watches one SQLite database's log. `due` is called by the writer between transactions."""

    def __init__(self, path: Path) -> None:
        self._path = path
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
        if self._rest_left:
            self._rest_left = False
            raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        size = self.log_bytes()
        if size >= TRUNCATE_BYTES and time.monotonic() >= self._cut_again_at:
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

    def _run(self) -> None:
        connection: Any = None
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._closing:
                break
            try:
                if connection is None:
                    connection = connect_sqlite(self._path, create=False, pragmas=("synchronous=FULL",))
                if _unmoved_bytes(connection) >= PASSIVE_BYTES:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    self._rest_left = True
            except Exception as error:  # a full disk: the log stays, the writer will say so itself
                log.warning("moving the log into %s failed: %s", self._path, error)
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Stop. Harmless twice."""
        self._closing = True
        self._wanted.set()
        self._thread.join(timeout=10.0)


def _unmoved_bytes(connection: Any) -> int:
    """How much of the log is not in the database yet (sqlite.org/pragma.html#pragma_wal_checkpoint, NOOP)."""
    _, frames, moved = connection.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    return (frames - moved) * int(connection.execute("PRAGMA page_size").fetchone()[0])
