"""A backup on its way in."""

import hashlib
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from actors.backups import manifest as manifests
from actors.backups import pieces
from actors.backups.manifest import Cut, FileEntry, Manifest, Summary
from actors.backups.marks import Held
from actors.backups.pieces import Pieces
from actors.backups.sealing import Seal
from actors.backups.storage import Storage
from perenne.clock import Clock
from perenne.errors import Conflict, InvalidRequest, StorageFailed

POOL = "backup-writer"  # names its threads
IN_FLIGHT = 8  # pieces a thread that are read and not stored yet: what bounds the memory, at 64 KiB each


class Writer:
    """One thread's. Nothing of it is listed before `commit`; left without one, what it stored stays until a prune."""

    def __init__(
        self,
        storage: Storage,
        seal: Seal,
        clock: Clock,
        held: Held,
        next_ordinal: Callable[[], int],
        moved: Callable[[int], None],
    ) -> None:
        self._storage, self._seal, self._clock, self._held = storage, seal, clock, held
        self._next_ordinal, self._moved = next_ordinal, moved
        self._pieces = Pieces(storage, seal)
        self._known = {bytes.fromhex(piece_id) for piece_id, size in self._pieces.sizes() if size}
        self._named: set[bytes] = set()
        self._entries: dict[str, FileEntry] = {}
        self._bytes_new = self._bytes_stored = 0
        self._began = time.monotonic()
        self._counting = threading.Lock()
        self._pool = ThreadPoolExecutor(storage.threads, thread_name_prefix=POOL)
        self._room = threading.BoundedSemaphore(storage.threads * IN_FLIGHT)
        self._failure: BaseException | None = None
        self._end = weakref.finalize(self, _ended, self._pool, held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.abort()

    def add_file(self, name: str, source: Path | BinaryIO) -> FileEntry:
        """Store a file, or what a stream still has, under a relative name. InvalidRequest for a bad name or one that was
        added before; OSError when the source can't be read; StorageFailed: abort then."""
        if manifests.check_name(name) in self._entries:
            raise InvalidRequest(f"the backup already has a file {name!r}", "name")
        self._open()
        digest, size, ids = hashlib.sha256(), 0, bytearray()
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            for data in pieces.cut(file):
                digest.update(data)
                size += len(data)
                ids += self._keep(data)
                self._moved(len(data))
        listed = len(ids) > manifests.INLINE_PIECES * 32
        if listed:
            ids = bytearray().join(
                self._keep(bytes(ids[at : at + pieces.PIECE_BYTES])) for at in range(0, len(ids), pieces.PIECE_BYTES)
            )
        entry = FileEntry(
            name, size, digest.hexdigest(), tuple(ids[at : at + 32].hex() for at in range(0, len(ids), 32)), listed
        )
        self._entries[name] = entry
        return entry

    def commit(self, cut: Cut) -> Manifest:
        """List the backup. If this returns, it is durable, whole and listed. If it raises, it isn't listed and the writer is
        ended; Conflict when a sweep took this writer for dead."""
        self._open()
        try:
            self._pool.shutdown(wait=True)
            if self._failure is not None:
                raise self._failure
            self._storage.settle({pieces.object_name(named.hex()).rpartition("/")[0] for named in self._named})
            manifest = self._manifest(cut)
            name = manifests.object_name(manifest.id)
            data = manifests.encode(manifest, self._seal)
            self._sure()
            try:
                self._storage.write(name, data)
                self._storage.settle([manifests.FOLDER])
                if not self._held.stands():
                    raise _lost()
            except BaseException:  # what isn't sure to stay is not listed
                with suppress(StorageFailed):
                    self._storage.remove(name)
                raise
            return manifest
        finally:
            self.abort()

    def abort(self) -> None:
        """End it without a backup, unless it was committed. Harmless twice."""
        self._end()

    def _open(self) -> None:
        if not self._end.alive:
            raise InvalidRequest("the backup was committed or aborted: begin another")

    def _keep(self, data: bytes) -> bytes:
        """Have these bytes stored, unless they are; their id."""
        piece_id = self._pieces.id_of(data)
        key = bytes.fromhex(piece_id)
        self._named.add(key)
        if key not in self._known:
            self._known.add(key)
            self._room.acquire()
            if self._failure is not None:
                self._room.release()
                raise self._failure
            self._pool.submit(self._put, piece_id, data).add_done_callback(self._done)
        return key

    def _put(self, piece_id: str, data: bytes) -> None:
        if self._failure is None:
            stored = self._pieces.put(piece_id, data)
            with self._counting:
                self._bytes_new += len(data)
                self._bytes_stored += stored

    def _done(self, put: "Future[None]") -> None:
        self._room.release()
        self._failure = self._failure or (None if put.cancelled() else put.exception())

    def _sure(self) -> None:
        """Every piece that the manifest names is there, and nobody has taken this writer for dead."""
        if not self._held.stands():
            raise _lost()
        there = {bytes.fromhex(piece_id) for piece_id, size in self._pieces.sizes() if size}
        if missing := len(self._named - there):
            raise Conflict(f"{missing} pieces were removed while the backup was made: make it again")

    def _manifest(self, cut: Cut) -> Manifest:
        now = self._clock.now()
        at = datetime.fromtimestamp(now, UTC)
        summary = Summary(
            id=f"{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03}Z-{secrets.token_hex(4)}",
            ordinal=self._next_ordinal(),
            created_at=now,
            cut=cut,
            files=len(self._entries),
            bytes_total=sum(entry.size for entry in self._entries.values()),
            bytes_new=self._bytes_new,
            bytes_stored=self._bytes_stored,
            took_s=round(time.monotonic() - self._began, 3),
        )
        return Manifest(summary, tuple(self._entries.values()))


def _lost() -> Conflict:
    return Conflict("another process took this backup for dead (it was silent for long) and cleaned up: make it again")


def _ended(pool: ThreadPoolExecutor, held: Held) -> None:
    # Forgotten, a writer ends in whichever thread had the last of it, the pool's too, which can't wait for itself: then none of
    # the others is at work, for they would have the writer as well.
    pool.shutdown(wait=not threading.current_thread().name.startswith(POOL), cancel_futures=True)
    held.release()
