"""A backup read back: its files restored, its pieces checked."""

import hashlib
import itertools
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from actors.backups import pieces
from actors.backups.manifest import FileEntry, Manifest
from actors.backups.pieces import Pieces
from perenne.errors import BackupDamaged, PerenneError, StorageFailed

T = TypeVar("T")

FINDINGS_MOST = 1000  # those that a report names; it counts all


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a backup that isn't as it was written."""

    what: str  # the object in the repository, or the file where its bytes as a whole are wrong
    reason: str
    file: str | None = None  # the first file that needs it; None for what the whole backup needs


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found."""

    id: str
    findings: tuple[Finding, ...]
    findings_count: int
    files: int
    files_damaged: int
    pieces: int  # looked at, each once
    bytes_read: int
    took_s: float
    read_data: bool

    @property
    def ok(self) -> bool:
        return self.findings_count == 0


def ids_of(entry: FileEntry, store: Pieces) -> Iterator[str]:
    """The pieces of a file's bytes, in order. BackupDamaged when its list is."""
    if not entry.listed:
        yield from entry.pieces
        return
    for listing in entry.pieces:
        data = store.get(listing)
        if len(data) % 32:
            raise BackupDamaged(pieces.object_name(listing), "it is no list of pieces")
        yield from (data[at : at + 32].hex() for at in range(0, len(data), 32))


def named_by(manifest: Manifest, store: Pieces) -> Iterator[str]:
    """Every piece that a backup needs, lists included."""
    for entry in manifest.entries:
        if entry.listed:
            yield from entry.pieces
        yield from ids_of(entry, store)


def restore(entry: FileEntry, path: Path, store: Pieces, threads: int, moved: Callable[[int], None]) -> None:
    """Write a file's bytes to `path`, over what was there. If this returns they are the right ones, durable, with their name
    too. If it raises, `path` is as it was: BackupDamaged, StorageFailed."""
    aside = path.with_name(f".{uuid.uuid4().hex}.restoring")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb", buffering=0) as file:
            digest, size = hashlib.sha256(), 0
            for data in _fetched(ids_of(entry, store), store, threads):
                size += len(data)
                if size > entry.size:
                    raise BackupDamaged(entry.name, f"its pieces hold more than its {entry.size} bytes")
                digest.update(data)
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                moved(len(data))
            if size != entry.size or digest.hexdigest() != entry.sha256:
                raise BackupDamaged(entry.name, "the bytes of its pieces are not those of the file that was backed up")
            os.fsync(descriptor)
        aside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageFailed(f"{path} can't be restored: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            aside.unlink()


class Verification:
    """Reads a backup back, file by file and piece by piece."""

    def __init__(self, manifest: Manifest, store: Pieces, threads: int, moved: Callable[[int], None]) -> None:
        self._manifest, self._store, self._threads, self._moved = manifest, store, threads, moved
        self._good: dict[bytes, int] = {}  # sizes by piece
        self._bad: set[bytes] = set()
        self._findings: list[Finding] = []
        self._count = self._bytes = 0

    def run(self, read_data: bool, before: Iterable[Finding] = ()) -> Report:
        """Never raises for what is damaged or can't be read. `before`: findings to begin the report with. Without `read_data`
        pieces are only looked for."""
        began, damaged = time.monotonic(), 0
        for finding in before:
            self._add(finding)
        try:
            there = None if read_data else {bytes.fromhex(piece_id) for piece_id, size in self._store.sizes() if size}
        except PerenneError as error:
            there = set[bytes]()
            self._add(Finding("pieces", str(error)))
        for entry in self._manifest.entries:
            damaged += not (self._sound(entry) if there is None else self._there(entry, there))
        return Report(
            id=self._manifest.id,
            findings=tuple(self._findings),
            findings_count=self._count,
            files=len(self._manifest.entries),
            files_damaged=damaged,
            pieces=len(self._good) + len(self._bad),
            bytes_read=self._bytes,
            took_s=round(time.monotonic() - began, 3),
            read_data=read_data,
        )

    def _there(self, entry: FileEntry, there: set[bytes]) -> bool:
        sound = True
        try:
            for piece_id in itertools.chain(entry.pieces if entry.listed else (), ids_of(entry, self._store)):
                key = bytes.fromhex(piece_id)
                if key in there:
                    self._good.setdefault(key, 0)
                else:
                    sound = False
                    self._blame(key, "it is missing", entry)
        except PerenneError as error:
            return self._lists(entry, error)
        return sound

    def _sound(self, entry: FileEntry) -> bool:
        sound, size, digest = True, 0, hashlib.sha256()
        try:
            if entry.listed:
                self._good.update((bytes.fromhex(listing), 0) for listing in entry.pieces)
            for piece_id, data in _tried(ids_of(entry, self._store), self._store, self._threads, self._bad):
                key = bytes.fromhex(piece_id)
                if isinstance(data, bytes):
                    if key not in self._good:
                        self._bytes += len(data)
                    self._good[key] = len(data)
                    size += len(data)
                    digest.update(data)
                    self._moved(len(data))
                else:
                    sound = False
                    self._blame(key, data, entry)
        except PerenneError as error:
            return self._lists(entry, error)
        if sound and (size != entry.size or digest.hexdigest() != entry.sha256):
            self._add(Finding(entry.name, "the bytes of its pieces are not those of the file that was backed up", entry.name))
            return False
        return sound

    def _lists(self, entry: FileEntry, error: PerenneError) -> bool:
        if isinstance(error, BackupDamaged):
            self._add(Finding(error.what, f"{error.reason} (the list of a file's pieces)", entry.name))
        else:
            self._add(Finding(entry.name, str(error), entry.name))
        return False

    def _blame(self, key: bytes, reason: str, entry: FileEntry) -> None:
        if key not in self._bad:
            self._bad.add(key)
            self._add(Finding(pieces.object_name(key.hex()), reason, entry.name))

    def _add(self, finding: Finding) -> None:
        self._count += 1
        if len(self._findings) < FINDINGS_MOST:
            self._findings.append(finding)


def _tried(ids: Iterable[str], store: Pieces, threads: int, bad: set[bytes]) -> Iterator[tuple[str, bytes | str]]:
    """Each piece's bytes, or what is wrong with it."""

    def one(piece_id: str) -> tuple[str, bytes | str]:
        if bytes.fromhex(piece_id) in bad:
            return piece_id, "it is damaged"
        try:
            return piece_id, store.get(piece_id)
        except BackupDamaged as error:
            return piece_id, error.reason
        except PerenneError as error:
            return piece_id, str(error)

    yield from _ahead(ids, one, threads)


def _fetched(ids: Iterable[str], store: Pieces, threads: int) -> Iterator[bytes]:
    yield from _ahead(ids, store.get, threads)


def _ahead(ids: Iterable[str], get: Callable[[str], T], threads: int) -> Iterator[T]:
    """The answers in order, some asked for ahead: what is held at once is bounded by twice the threads."""
    waiting: deque[Future[T]] = deque()
    source = iter(ids)
    first = list(itertools.islice(source, 2))
    if len(first) < 2:  # most files are one piece: no threads for those
        yield from (get(piece_id) for piece_id in first)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="backup-reader") as pool:
        try:
            for piece_id in itertools.chain(first, source):
                waiting.append(pool.submit(get, piece_id))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
