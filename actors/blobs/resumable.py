"""Files that come in over many requests. Their state is the disk alone: no death of a process and no cut of power moves an
offset that was told."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from actors.blobs.layout import Layout, hash_of, keep, storage, sync_folder, write_durably
from perenne import names
from perenne.errors import Busy, ChecksumMismatch, Conflict, NotFound, QuotaExceeded, StorageFailed, TooLarge
from perenne.messages.uploads import Upload
from perenne.settings import EdgeSettings

UNFINISHED_MAX = 1024  # of all users together
_STRIPES = 64  # locks that uploads share by their id
_MARK_BYTES = 128


@dataclass(frozen=True, slots=True)
class _Mark:
    """What moves: how much is on disk, when that was, and which request may write."""

    offset: int
    touched_at: float
    claim: str = ""

    def line(self) -> bytes:
        return f"{self.offset} {self.touched_at:.3f} {self.claim}".encode().ljust(_MARK_BYTES - 1) + b"\n"

    @classmethod
    def of(cls, line: bytes) -> "_Mark":
        offset, touched_at, claim, *_ = (*line.decode().rstrip().split(" "), "")
        return cls(int(offset), float(touched_at), claim)


class ResumableUploads:
    """Calls block; any thread may make them, and each is harmless twice. An upload is three files: its facts (`.json`, or `.done`
    once it became a blob), its bytes (`.part`), and how many of them count (`.mark`). Bytes after the mark were never told of."""

    def __init__(self, layout: Layout, settings: EdgeSettings) -> None:
        self._layout, self._settings = layout, settings
        self._making = threading.Lock()
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    def open(self) -> None:
        """Make the folder, for its owner alone. OSError when that fails."""
        self._layout.resumable.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(self._layout.root)

    def _lock(self, upload_id: str) -> threading.Lock:
        return self._locks[hash(upload_id) % _STRIPES]

    # Looks

    def look(self, upload_id: str, user_id: str) -> Upload:
        """An upload of this user's. NotFound when there is none, or it is another's or too old."""
        with storage("the upload can't be read"):
            found = self._found(upload_id)
        if found.user_id != user_id or found.expires_at <= time.time():
            raise NotFound("upload", upload_id)
        return found

    def unfinished(self, user_id: str) -> tuple[Upload, ...]:
        """The user's uploads that more bytes may come for, oldest first."""
        with storage("the uploads can't be listed"):
            found = [upload for upload in self._unfinished() if upload.user_id == user_id]
        return tuple(sorted(found, key=lambda upload: upload.created_at))

    def _unfinished(self) -> Iterator[Upload]:
        now = time.time()
        for path in self._layout.resumable.glob("*.json"):
            with suppress(NotFound):  # it has ended this moment
                if (upload := self._found(path.stem)).expires_at > now:
                    yield upload

    def _found(self, upload_id: str) -> Upload:
        """As it is on disk, whosever it is."""
        done = self._facts(self._layout.resumable_file(upload_id, "done"))
        if done is not None:
            return done
        facts = self._facts(self._layout.resumable_file(upload_id, "json"))
        if facts is None:
            raise NotFound("upload", upload_id)
        mark = self._mark(upload_id)
        return replace(facts, offset=mark.offset, expires_at=mark.touched_at + self._settings.upload_kept_s)

    @staticmethod
    def _facts(path: Path) -> Upload | None:
        try:
            return Upload(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None

    def _mark(self, upload_id: str) -> _Mark:
        try:
            return _Mark.of(self._layout.resumable_file(upload_id, "mark").read_bytes())
        except FileNotFoundError:
            raise NotFound("upload", upload_id) from None

    def _set_mark(self, upload_id: str, mark: _Mark, durably: bool) -> None:
        """In place, within one sector of the disk."""
        descriptor = os.open(self._layout.resumable_file(upload_id, "mark"), os.O_WRONLY)
        try:
            os.pwrite(descriptor, mark.line(), 0)
            if durably:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    # What an upload goes through

    def create(self, upload: Upload) -> Upload:
        """Begin an upload, or find it: the same again gives it as it is. Conflict when the id is another's. TooLarge;
        QuotaExceeded when its user has too many, or too many bytes, that are unfinished; StorageFailed when there is no room."""
        if upload.length > self._settings.upload_bytes_max:
            raise TooLarge("the file", upload.length, self._settings.upload_bytes_max)
        with self._making, storage("an upload can't be begun"):
            with suppress(NotFound):
                return self._same(upload, self._found(upload.id))
            self._need_room(upload)
            part = self._layout.resumable_file(upload.id, "part")
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            write_durably(self._layout.resumable_file(upload.id, "mark"), _Mark(0, upload.created_at).line())
            write_durably(self._layout.resumable_file(upload.id, "json"), json.dumps(asdict(upload)).encode())
            return self._found(upload.id)

    @staticmethod
    def _same(asked: Upload, there: Upload) -> Upload:
        moved = {
            "offset": there.offset,
            "expires_at": there.expires_at,
            "blob_hash": there.blob_hash,
            "created_at": there.created_at,
        }
        if replace(asked, **moved) != there:
            raise Conflict("an upload under this Idempotency-Key was begun for another file; use a fresh one")
        return there

    def _need_room(self, upload: Upload) -> None:
        there = list(self._unfinished())
        if len(there) >= UNFINISHED_MAX:
            raise Busy("the store of files", 60.0)
        own = [other for other in there if other.user_id == upload.user_id]
        if len(own) >= self._settings.uploads_max:
            raise QuotaExceeded("unfinished uploads", len(own) + 1, self._settings.uploads_max)
        held = sum(other.length for other in own) + upload.length
        if held > self._settings.uploads_bytes_max:
            raise QuotaExceeded("bytes of unfinished uploads", held, self._settings.uploads_bytes_max)
        to_come = sum(other.length - other.offset for other in there) + upload.length
        facts = os.statvfs(self._layout.root)
        if to_come > (free := facts.f_bavail * facts.f_frsize):
            raise StorageFailed(f"the disk has {free} bytes free, and uploads want {to_come}")

    def claim(self, upload_id: str, claim: str, offset: int) -> None:
        """Let this request write from here on, and no other: what an older one wrote and nobody was told of is gone. Conflict when
        the offset is not where the upload stands."""
        with self._lock(upload_id), storage("the upload can't be gone on with"):
            mark = self._mark(upload_id)
            if mark.offset != offset:
                raise Conflict(f"expected bytes from offset {mark.offset}, got some from {offset}")
            if mark.claim != claim:
                os.truncate(self._layout.resumable_file(upload_id, "part"), mark.offset)
                self._set_mark(upload_id, replace(mark, claim=claim), durably=False)

    def write(self, upload_id: str, claim: str, offset: int, data: bytes) -> None:
        """Put bytes after those that count; `advance` makes them count. Conflict when another request has the upload or the piece
        leaves a gap; TooLarge."""
        if len(data) > names.BLOB_PIECE_BYTES:
            raise TooLarge("the piece", len(data), names.BLOB_PIECE_BYTES)
        with self._lock(upload_id), storage("the piece can't be written"):
            mark = self._claimed(upload_id, claim)
            length = self._found(upload_id).length
            if offset + len(data) > length:
                raise TooLarge("the file", offset + len(data), length)
            descriptor = os.open(self._layout.resumable_file(upload_id, "part"), os.O_RDWR)
            try:
                held = os.fstat(descriptor).st_size
                if not mark.offset <= offset <= held:
                    raise Conflict(f"expected a piece at {mark.offset} to {held}, got one at {offset}")
                rest = memoryview(data)
                while rest:
                    rest = rest[os.pwrite(descriptor, rest, offset + len(data) - len(rest)) :]
            finally:
                os.close(descriptor)

    def _claimed(self, upload_id: str, claim: str) -> _Mark:
        mark = self._mark(upload_id)
        if mark.claim != claim:
            raise Conflict("another request goes on with this upload: ask for its offset")
        return mark

    def advance(self, upload_id: str, claim: str, offset: int) -> Upload:
        """Make the bytes up to here count. If this returns, they are on disk."""
        with self._lock(upload_id), storage("the upload can't be put on disk"):
            mark = self._claimed(upload_id, claim)
            part = self._layout.resumable_file(upload_id, "part")
            if not mark.offset <= offset <= part.stat().st_size:
                raise Conflict(f"expected an offset from {mark.offset} to {part.stat().st_size}, got {offset}")
            descriptor = os.open(part, os.O_RDWR)
            try:
                os.fdatasync(descriptor)
            except OSError:
                os.ftruncate(descriptor, mark.offset)  # the kernel forgets what it could not write
                raise
            finally:
                os.close(descriptor)
            self._set_mark(upload_id, replace(mark, offset=offset, touched_at=time.time()), durably=True)
            return self._found(upload_id)

    def finish(self, upload_id: str) -> Upload:
        """Make a whole upload a blob. Conflict when bytes are missing; ChecksumMismatch when they are not those of its hash, and
        then the upload is dropped: the file is to be sent again."""
        with self._lock(upload_id), storage("the file can't be stored"):
            upload, part = self._found(upload_id), self._layout.resumable_file(upload_id, "part")
            if upload.blob_hash is None:
                if upload.offset != upload.length:
                    raise Conflict(f"expected {upload.length} bytes, got {upload.offset} so far")
                blob_hash, size = hash_of(part)
                if size != upload.length:
                    raise StorageFailed(f"{size} bytes are on the disk, where {upload.length} were put")
                if upload.sha256 not in (None, blob_hash):
                    self._remove(upload_id)
                    raise ChecksumMismatch(f"the file has the SHA-256 {blob_hash}, not {upload.sha256}: send it again")
                upload = replace(upload, blob_hash=blob_hash)
                write_durably(self._layout.resumable_file(upload_id, "done"), json.dumps(asdict(upload)).encode())
            if part.exists():
                keep(self._layout, part, upload.blob_hash or "")
            for kind in ("json", "mark"):
                self._layout.resumable_file(upload_id, kind).unlink(missing_ok=True)
            return upload

    def drop(self, upload_id: str) -> None:
        """Give an upload up; what it became, if it ended, stays. Nothing when it is gone."""
        with self._lock(upload_id), storage("the upload can't be dropped"):
            self._remove(upload_id)

    def _remove(self, upload_id: str) -> None:
        for kind in ("json", "done", "mark", "part"):
            self._layout.resumable_file(upload_id, kind).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Drop what is too old; how many uploads."""
        dropped, before = 0, time.time() - self._settings.upload_kept_s
        with storage("the uploads can't be swept"):
            for upload_id in {path.name.partition(".")[0] for path in self._layout.resumable.iterdir()}:
                with suppress(NotFound), self._lock(upload_id):
                    dropped += self._is_old(upload_id, before) and self._remove(upload_id) is None
        return dropped

    def _is_old(self, upload_id: str, before: float) -> bool:
        try:
            return self._found(upload_id).expires_at <= time.time()
        except NotFound:  # what a death in `create` left
            paths = (self._layout.resumable_file(upload_id, kind) for kind in ("part", "mark"))
            return all(path.stat().st_mtime < before for path in paths if path.exists())
