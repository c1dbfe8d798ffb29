"""A large file over actor handles: what came of it is kept by its owner, as of one over HTTP, so that a death of the owner or of
this very program costs a piece and not the file. One begun over either is gone on with over the other."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

from perenne import names
from perenne.api import Progress
from perenne.errors import Conflict, InvalidRequest, NotFound
from perenne.http_uploads import measured, untold
from perenne.ids import new_id
from perenne.messages.records import JobKind
from perenne.messages.uploads import Upload

_ADVANCE_BYTES = 4 << 20  # what a death costs at most: so many are put on disk at once
_TRIES = 3  # to begin, and to take an upload back from another who sends the same

# A method of the owner's and its arguments, tried again while the owner restarts.
Ask = Callable[..., Awaitable[Any]]


class KeptUpload:
    """One file of this user's, for this project (its id)."""

    def __init__(self, path: Path, user_id: str, project_id: str, ask: Ask, on_progress: Progress | None) -> None:
        self._path, self._user_id, self._project_id, self._ask = path, user_id, project_id, ask
        self._on_progress: Progress = on_progress or untold

    async def send(self, kind: JobKind, title: str | None = None, external_id: str | None = None) -> Upload:
        """The upload once all of it is durable under its hash. An earlier try at the same file is gone on with, whoever made it."""
        length, sha256 = await asyncio.to_thread(measured, self._path)
        wanted = Upload(
            id=new_id("upl"),
            user_id=self._user_id,
            project_id=self._project_id,
            length=length,
            filename=self._path.name,
            title=title or self._path.name,
            created_at=time.time(),
            external_id=external_id,
            sha256=sha256,
            kind=kind,
        )
        for tries_left in reversed(range(_TRIES)):
            try:
                upload = await self._sent(await self._begun(wanted))
                return await self._ask("finish_upload", upload_id=upload.id)
            except NotFound:  # too old meanwhile, or dropped: once more from its start
                if not tries_left:
                    raise
        raise AssertionError("unreachable: the last try raises")

    async def _begun(self, wanted: Upload) -> Upload:
        held: tuple[Upload, ...] = await self._ask("uploads", user_id=self._user_id)
        return next((upload for upload in held if _same(upload, wanted)), None) or await self._ask(
            "create_upload", upload=wanted
        )

    async def _sent(self, upload: Upload) -> Upload:
        lost = 0
        with await asyncio.to_thread(self._path.open, "rb") as file:
            while upload.offset < upload.length:
                self._on_progress(upload.offset, upload.length)
                try:
                    upload = await self._taken(upload, file)
                except Conflict:  # another has it, or our view is old
                    lost += 1
                    if lost == _TRIES:
                        raise
                    upload = await self._ask("upload", upload_id=upload.id, user_id=self._user_id)
        self._on_progress(upload.length, upload.length)
        return upload

    async def _taken(self, upload: Upload, file: BinaryIO) -> Upload:
        """The upload with more of the file on disk, under a claim: an older sender's is over."""
        claim, at = new_id("clm"), upload.offset
        await self._ask("claim_upload", upload_id=upload.id, claim=claim, offset=at)
        await asyncio.to_thread(file.seek, at)
        while at < upload.length:
            piece = await asyncio.to_thread(file.read, min(names.BLOB_PIECE_BYTES, upload.length - at))
            if not piece:
                raise InvalidRequest(f"{self._path} became shorter while it was sent")
            await self._ask("write_upload", upload_id=upload.id, claim=claim, offset=at, data=piece)
            at += len(piece)
            if at == upload.length or at - upload.offset >= _ADVANCE_BYTES:
                upload = await self._ask("advance_upload", upload_id=upload.id, claim=claim, offset=at)
            self._on_progress(at, upload.length)
        return upload


def _same(held: Upload, wanted: Upload) -> bool:
    facts = ("project_id", "length", "filename", "title", "external_id", "sha256", "kind")
    return all(getattr(held, name) == getattr(wanted, name) for name in facts)
