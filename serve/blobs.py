"""Bytes to and from the owner of files, in pieces; each call again while the owner is away."""

from collections.abc import AsyncIterator
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from perenne import names
from perenne.errors import Busy, DeadlineExceeded, TooLarge, Unavailable
from serve.edge import Edge

_CALL_S = 20.0  # one piece on a slow disk
_TRIED_S = 30.0
_AGAIN = retry_if_exception_type((Unavailable, Busy, DeadlineExceeded))


async def ask_owner(edge: Edge, method: str, **arguments: Any) -> Any:
    """Call the owner of files, again while it is away: each of its calls is harmless twice."""
    owner = names.blob_store(edge.settings.pc)
    async for attempt in AsyncRetrying(
        retry=_AGAIN, stop=stop_after_delay(_TRIED_S), wait=wait_random_exponential(0.1, max=1.0), reraise=True
    ):
        with attempt:
            return await edge.directory.call(owner, method, timeout_s=_CALL_S, **arguments)
    raise AssertionError("unreachable: tenacity reraises")


class BlobUpload:
    """One file on its way in. Pieces are joined or cut to BLOB_PIECE_BYTES; the same piece twice is harmless."""

    def __init__(self, edge: Edge, limit: int) -> None:
        self._edge, self._limit = edge, limit
        self._id: str | None = None
        self._sent = 0
        self._held = bytearray()

    async def add(self, data: bytes) -> None:
        """Take some bytes; TooLarge once there are more than the limit."""
        self._held += data
        size = self._sent + len(self._held)
        if size > self._limit:
            raise TooLarge("the file", size, self._limit)
        while len(self._held) >= names.BLOB_PIECE_BYTES:
            await self._send(names.BLOB_PIECE_BYTES)

    async def _send(self, count: int) -> None:
        if self._id is None:
            self._id = await ask_owner(self._edge, "begin")
        piece = bytes(self._held[:count])
        await ask_owner(self._edge, "append", upload_id=self._id, offset=self._sent, data=piece)
        self._sent += count
        del self._held[:count]

    async def commit(self) -> tuple[str, int]:
        """Hash and size of the file, which is on disk once this returns."""
        if self._held or self._id is None:
            await self._send(len(self._held))
        blob_hash, size = await ask_owner(self._edge, "commit", upload_id=self._id)
        return blob_hash, size

    def abandon(self) -> None:
        """Give the file up, behind the answer."""
        if self._id is not None:
            owner = names.blob_store(self._edge.settings.pc)
            self._edge.errand(self._edge.directory.call(owner, "abort", timeout_s=_CALL_S, upload_id=self._id))


async def blob_size(edge: Edge, blob_hash: str) -> int | None:
    """Size of a file; None when it is not there."""
    return await ask_owner(edge, "stat", hash=blob_hash)


async def blob_pieces(edge: Edge, blob_hash: str, size: int) -> AsyncIterator[bytes]:
    """The file, piece by piece."""
    offset = 0
    while offset < size:
        piece: bytes = await ask_owner(edge, "read", hash=blob_hash, offset=offset, length=names.BLOB_PIECE_BYTES)
        if not piece:
            raise Unavailable("the file", 1.0, "it is shorter than it was")
        offset += len(piece)
        yield piece
