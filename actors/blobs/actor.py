"""The shell of the one owner of files on a PC."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar, TypeVar

import ray

from actors.blobs.files import BlobFiles
from actors.blobs.layout import Layout
from actors.blobs.resumable import ResumableUploads
from actors.blobs.sweeper import BLOB_GRACE_S, UPLOAD_AGE_S, Sweeper
from actors.blobs.uploads import Uploads
from perenne import correlation, logs
from perenne.correlation import takes_ids
from perenne.directory import Directory
from perenne.lifecycle import Lifecycle
from perenne.messages.health import Health
from perenne.messages.uploads import Upload
from perenne.relief import give_back
from perenne.room import Room
from perenne.settings import Settings

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])

WORK = 16  # calls in hand
THREADS = 4  # of them at the disk at once


def _in(group: str) -> Callable[[Method], Method]:
    return ray.method(concurrency_group=group)  # type: ignore[no-any-return]


@takes_ids
class BlobStore:
    """Files by hash under HOME/blobs. See `Uploads` and `BlobFiles` for what each method promises."""

    CONCURRENCY: ClassVar[dict[str, int]] = {"health": 2, "files": WORK}

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        logs.begin(name, settings)
        layout = Layout(settings.path("blobs"))
        self._files, self._uploads = BlobFiles(layout), Uploads(layout, settings.ingest.file_bytes_max)
        self._resumable = ResumableUploads(layout, settings.edge)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="files")
        self._room = Room(settings.path("blobs"), settings.disk)
        self._working = 0
        self._progress_at = time.monotonic()
        self._sweeper = Sweeper(self._files, self._uploads, self._resumable, directory)
        self._life = Lifecycle(name, settings, directory, self._recover)
        self._life.begin()

    def _recover(self) -> None:
        self._files.open()
        self._resumable.open()
        self._sweeper.start()

    async def _do(self, work: Callable[..., T], *arguments: Any) -> T:
        await self._life.ready()
        if not self._working:
            self._progress_at = time.monotonic()
        self._working += 1
        try:
            doing = correlation.inherited(partial(work, *arguments))
            return await asyncio.get_running_loop().run_in_executor(self._pool, doing)
        finally:
            self._working -= 1
            self._progress_at = time.monotonic()

    @_in("files")
    async def begin(self) -> str:
        """A new upload's id. StorageFailed while the disk is nearly full: here, and wherever bytes come in."""
        self._room.check()
        return await self._do(self._uploads.begin)

    @_in("files")
    async def append(self, upload_id: str, offset: int, data: bytes) -> int:
        """Write a piece at its place; the length so far."""
        self._room.check()
        return await self._do(self._uploads.append, upload_id, offset, data)

    @_in("files")
    async def commit(self, upload_id: str, expected_hash: str | None = None) -> tuple[str, int]:
        """Hash and size. If this returns, the file is durable."""
        return await self._do(self._uploads.commit, upload_id, expected_hash)

    @_in("files")
    async def abort(self, upload_id: str) -> None:
        """Drop an upload."""
        await self._do(self._uploads.abort, upload_id)

    # Over many requests; see `ResumableUploads`

    @_in("files")
    async def create_upload(self, upload: Upload) -> Upload:
        """Begin it, or find it as it is."""
        self._room.check()
        return await self._do(self._resumable.create, upload)

    @_in("files")
    async def upload(self, upload_id: str, user_id: str) -> Upload:
        """An upload of this user's."""
        return await self._do(self._resumable.look, upload_id, user_id)

    @_in("files")
    async def uploads(self, user_id: str) -> tuple[Upload, ...]:
        """The user's that are unfinished."""
        return await self._do(self._resumable.unfinished, user_id)

    @_in("files")
    async def claim_upload(self, upload_id: str, claim: str, offset: int) -> None:
        """Let one request write, from where the upload stands."""
        await self._do(self._resumable.claim, upload_id, claim, offset)

    @_in("files")
    async def write_upload(self, upload_id: str, claim: str, offset: int, data: bytes) -> None:
        """Bytes that do not count yet."""
        self._room.check()
        await self._do(self._resumable.write, upload_id, claim, offset, data)

    @_in("files")
    async def advance_upload(self, upload_id: str, claim: str, offset: int) -> Upload:
        """If this returns, the bytes up to here are durable."""
        return await self._do(self._resumable.advance, upload_id, claim, offset)

    @_in("files")
    async def finish_upload(self, upload_id: str) -> Upload:
        """If this returns, the whole file is durable under its hash."""
        return await self._do(self._resumable.finish, upload_id)

    @_in("files")
    async def drop_upload(self, upload_id: str) -> None:
        """Give it up."""
        await self._do(self._resumable.drop, upload_id)

    # What is there

    @_in("files")
    async def stat(self, hash: str) -> int | None:
        """Its size, None when there is none."""
        return await self._do(self._files.stat, hash)

    @_in("files")
    async def read(self, hash: str, offset: int, length: int) -> bytes:
        """A range of its bytes, a piece at most."""
        return await self._do(self._files.read, hash, offset, length)

    @_in("files")
    async def path(self, hash: str) -> str:
        """Where its bytes are, for a reader on this PC."""
        return str(await self._do(self._files.path, hash))

    @_in("files")
    async def verify(self, hash: str) -> bool:
        """Whether its bytes are still those of its hash."""
        return await self._do(self._files.verify, hash)

    @_in("files")
    async def sweep(
        self, kept: frozenset[str] | None = None, grace_s: float = BLOB_GRACE_S, upload_age_s: float = UPLOAD_AGE_S
    ) -> tuple[int, int, int]:
        """Drop stale uploads and, when `kept` is given, every file that is neither in it nor young: uploads, files, bytes."""
        uploads = await self._do(self._uploads.sweep, upload_age_s) + await self._do(self._resumable.sweep)
        removed, freed = (0, 0) if kept is None else await self._do(self._files.sweep, kept, grace_s)
        return uploads, removed, freed

    @_in("health")
    async def relieve(self) -> int:
        """Give memory back that is not needed; how many bytes."""
        return await asyncio.to_thread(give_back)

    @_in("health")
    async def hold(self, for_s: float) -> None:
        """Keep every file that is there, whether a row names it or not, for so long from now; 0 ends it."""
        await self._life.ready()
        self._sweeper.hold(for_s)

    @_in("health")
    async def health(self) -> Health:
        """`queue`: calls in hand."""
        age = time.monotonic() - self._progress_at if self._working else 0.0
        if not self._life.is_ready:
            return self._life.health()
        free = await asyncio.to_thread(self._files.free_bytes)
        return self._life.health(queue=self._working, progress_age_s=age, free_bytes=free)

    async def close(self) -> None:
        """Nothing is held that the disk does not have; harmless twice."""
        self._sweeper.stop()
