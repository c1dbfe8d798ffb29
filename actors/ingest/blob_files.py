"""Files by hash, of the owner of this PC's: where one is, and putting one there."""

import asyncio
from pathlib import Path
from typing import IO, Any

from actors.ingest.pulse import Pulse
from perenne import names
from perenne.directory import Directory
from perenne.errors import Busy

_CALL_S = 10.0
_BUSY_TRIES = 10


class BlobFiles:
    """Raises what the owner raises: NotFound, StorageFailed, Unavailable, DeadlineExceeded."""

    def __init__(self, directory: Directory, pc: str, pulse: Pulse) -> None:
        self._directory, self._owner, self._pulse = directory, names.blob_store(pc), pulse

    async def _call(self, method: str, **arguments: Any) -> Any:
        for tries_left in reversed(range(_BUSY_TRIES)):
            try:
                with self._pulse.step(_CALL_S + 5.0):
                    return await self._directory.call(self._owner, method, timeout_s=_CALL_S, **arguments)
            except Busy as error:
                if not tries_left:
                    raise
                await asyncio.sleep(min(error.retry_after_s, 2.0))
        raise AssertionError("unreachable: the last try returns or raises")

    async def path(self, blob_hash: str) -> Path:
        """Where the file is on this PC."""
        return Path(await self._call("path", hash=blob_hash))

    async def put(self, path: Path) -> tuple[str, int]:
        """Hash and size. If this returns, the file is durable."""
        upload_id: str = await self._call("begin")
        offset = 0
        with await asyncio.to_thread(path.open, "rb") as file:
            while piece := await asyncio.to_thread(_read, file):
                await self._call("append", upload_id=upload_id, offset=offset, data=piece)
                offset += len(piece)
        blob_hash, size = await self._call("commit", upload_id=upload_id)
        return blob_hash, size


def _read(file: IO[bytes]) -> bytes:
    return file.read(names.BLOB_PIECE_BYTES)
