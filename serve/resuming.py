"""Bytes of an upload over many requests, on their way from one request to the owner of files."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from perenne import names
from perenne.errors import ChecksumMismatch, Conflict, InvalidRequest, TooLarge
from perenne.ids import new_id
from perenne.messages.uploads import Upload
from serve.blobs import ask_owner
from serve.edge import Edge

ADVANCE_BYTES = 4 << 20  # bytes that a death of this replica costs at most: so many are put on disk at once
ALGORITHMS: dict[str, Callable[[], Any]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
}


class Checksum:
    """What one request's bytes must come to, as tus has it: an algorithm and base64."""

    def __init__(self, header: str) -> None:
        self.algorithm, _, value = header.strip().partition(" ")
        if self.algorithm not in ALGORITHMS:
            raise InvalidRequest(f"expected one of {', '.join(ALGORITHMS)}, got {self.algorithm[:40]!r}", "Upload-Checksum")
        try:
            self._expected = base64.b64decode(value, validate=True)
        except ValueError as error:
            raise InvalidRequest("expected an algorithm and a checksum in base64", "Upload-Checksum") from error
        self._digest = ALGORITHMS[self.algorithm]()

    def add(self, data: bytes) -> None:
        self._digest.update(data)

    def check(self) -> None:
        """ChecksumMismatch when other bytes came."""
        if self._digest.digest() != self._expected:
            raise ChecksumMismatch(f"the bytes have another {self.algorithm}: they were not kept, send them again")


class Taking:
    """One request's bytes. What came before the connection broke counts, but with a checksum: then all of it or nothing."""

    def __init__(self, edge: Edge, upload: Upload, checksum: Checksum | None) -> None:
        self._edge, self.upload, self._checksum = edge, upload, checksum
        self._claim = new_id("clm")
        self._written = upload.offset
        self._held = bytearray()

    async def _ask(self, method: str, **arguments: Any) -> Any:
        return await ask_owner(self._edge, f"{method}_upload", upload_id=self.upload.id, claim=self._claim, **arguments)

    async def take(self, request: Request, offset: int) -> Upload:
        """The upload once all of the body counts. Conflict when it does not stand at this offset, or another request took it over."""
        if offset != self.upload.offset:
            raise Conflict(f"expected bytes from offset {self.upload.offset}, got some from {offset}")
        await self._ask("claim", offset=offset)
        try:
            async for data in request.stream():
                await self._add(data)
        except BaseException:  # the connection broke, or this replica ends: what came is the client's gain
            if self._checksum is None:
                self._edge.errand(self._count())
            raise
        if self._checksum is not None:
            self._checksum.check()
        return await self._count()

    async def _add(self, data: bytes) -> None:
        if self._checksum is not None:
            self._checksum.add(data)
        if self._written + len(self._held) + len(data) > self.upload.length:
            raise TooLarge("the file", self._written + len(self._held) + len(data), self.upload.length)
        self._held += data
        while len(self._held) >= names.BLOB_PIECE_BYTES:
            await self._write(names.BLOB_PIECE_BYTES)
            if self._checksum is None and self._written - self.upload.offset >= ADVANCE_BYTES:
                await self._count(held=False)

    async def _write(self, count: int) -> None:
        await self._ask("write", offset=self._written, data=bytes(self._held[:count]))
        self._written += count
        del self._held[:count]

    async def _count(self, held: bool = True) -> Upload:
        if held and self._held:
            await self._write(len(self._held))
        if self._written != self.upload.offset:
            self.upload = await self._ask("advance", offset=self._written)
        return self.upload
