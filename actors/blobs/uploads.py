"""Files on their way in. Their state is the disk alone, so they go on after a death of their owner."""

import json
import os
import threading
import time
from contextlib import suppress

from actors.blobs.layout import Layout, hash_of, keep, storage, sync_folder
from perenne import names
from perenne.errors import Busy, Conflict, InvalidRequest, NotFound, StorageFailed, TooLarge
from perenne.ids import new_id

UPLOADS_MAX = 256  # open at once, of all callers together
_STRIPES = 64  # locks that uploads share by their id


class Uploads:
    """Calls block; any thread may make them. Every one of them is harmless twice."""

    def __init__(self, layout: Layout, file_bytes_max: int) -> None:
        self._layout, self._file_bytes_max = layout, file_bytes_max
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    def _lock(self, upload_id: str) -> threading.Lock:
        return self._locks[hash(upload_id) % _STRIPES]

    def count(self) -> int:
        """Uploads that are open."""
        with storage("the uploads can't be listed"):
            return sum(1 for name in os.listdir(self._layout.incoming) if "." not in name)

    def begin(self) -> str:
        """A new upload's id. Busy when too many are open; StorageFailed."""
        if self.count() >= UPLOADS_MAX:
            raise Busy("the store of files", 5.0)
        upload_id = new_id("upl")
        with storage("an upload can't be begun"):
            self._layout.upload(upload_id).touch(mode=0o600, exist_ok=False)
        return upload_id

    def append(self, upload_id: str, offset: int, data: bytes) -> int:
        """Write a piece at its place; the length so far. A piece that came before, whole or in part, is written again in place.

        TooLarge for a piece or a file over its bound; InvalidRequest for a gap; NotFound; StorageFailed, and then the piece
        is not there."""
        if len(data) > names.BLOB_PIECE_BYTES:
            raise TooLarge("the piece", len(data), names.BLOB_PIECE_BYTES)
        if offset + len(data) > self._file_bytes_max:
            raise TooLarge("the file", offset + len(data), self._file_bytes_max)
        with self._lock(upload_id), storage("the piece can't be written"):
            try:
                descriptor = os.open(self._layout.upload(upload_id), os.O_RDWR)
            except FileNotFoundError:
                raise NotFound("upload", upload_id) from None
            try:
                return self._write(descriptor, offset, data)
            finally:
                os.close(descriptor)

    @staticmethod
    def _write(descriptor: int, offset: int, data: bytes) -> int:
        length = os.fstat(descriptor).st_size
        if not 0 <= offset <= length:
            raise InvalidRequest(f"expected a piece at 0 to {length}, got one at {offset}", "offset")
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.pwrite(descriptor, rest, offset + len(data) - len(rest)) :]
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(descriptor, length)
            raise StorageFailed(f"the piece can't be written: {error.strerror}") from error
        return max(length, offset + len(data))

    def commit(self, upload_id: str, expected_hash: str | None = None) -> tuple[str, int]:
        """Make the upload a blob: its hash and size. If this returns, the bytes and the name are on disk; the same content
        twice is stored once. Conflict when the bytes are not those of `expected_hash`: the upload is dropped then."""
        path = self._layout.upload(upload_id)
        with self._lock(upload_id), storage("the file can't be stored"):
            if not path.exists():
                return self._committed(upload_id, expected_hash)
            blob_hash, size = hash_of(path)
            if expected_hash is not None and blob_hash != expected_hash:
                path.unlink()
                raise Conflict(f"expected bytes with the hash {expected_hash}, got {blob_hash}: send the file again")
            self._sync(upload_id)
            self._layout.receipt(upload_id).write_text(json.dumps([blob_hash, size]))
            keep(self._layout, path, blob_hash)
            return blob_hash, size

    def _sync(self, upload_id: str) -> None:
        """Push the bytes to the disk. After a failure the kernel forgets what it could not write, so the upload is dropped."""
        path = self._layout.upload(upload_id)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _committed(self, upload_id: str, expected_hash: str | None) -> tuple[str, int]:
        """What a commit said that had begun before; the blob's folders are synced, since it may have died just there."""
        try:
            blob_hash, size = json.loads(self._layout.receipt(upload_id).read_text())
            target = self._layout.blob(blob_hash)
            found = target.stat().st_size
        except (FileNotFoundError, ValueError):
            raise NotFound("upload", upload_id) from None
        if found != size or expected_hash not in (None, blob_hash):
            raise NotFound("upload", upload_id)
        for folder in (target.parent, self._layout.root):
            sync_folder(folder)
        return blob_hash, size

    def abort(self, upload_id: str) -> None:
        """Drop an upload; nothing when it is gone."""
        with self._lock(upload_id), storage("the upload can't be dropped"):
            self._layout.upload(upload_id).unlink(missing_ok=True)

    def sweep(self, age_s: float) -> int:
        """Drop uploads, and receipts of uploads, that nobody touched for that long; how many uploads."""
        dropped, before = 0, time.time() - age_s
        with storage("the uploads can't be swept"):
            for path in self._layout.incoming.iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()
                        dropped += path.suffix == ""
        return dropped
