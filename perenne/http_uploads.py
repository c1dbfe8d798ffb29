"""A large file over HTTP: in pieces, by tus 1.0, so that a cut connection, a death of the server or of this very program costs a
piece and not the file."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

from perenne.api import Progress
from perenne.errors import Busy, Conflict, DeadlineExceeded, InvalidRequest, NotFound, Unavailable
from perenne.messages.records import JobKind

PIECED_FROM_BYTES = 8 << 20  # a file of this size or more goes in pieces
_PIECE_BYTES = 16 << 20  # one request
_BLOCK_BYTES = 256 << 10
_TRIES = 3
_PAUSE_S = (0.2, 2.0)  # first and longest pause before another try
_TUS = {"Tus-Resumable": "1.0.0"}

# Method, path and options of a request; its JSON, or its headers, or the error that it is.
Request = Callable[..., Awaitable[Any]]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class PiecedUpload:
    """One file. `send` is tried again while the server is away, `patience_s` long after the last byte that it took."""

    def __init__(self, path: Path, project_path: str, send: Request, patience_s: float, on_progress: Progress | None) -> None:
        self._path, self._where, self._send, self._patience_s = path, f"{project_path}/uploads", send, patience_s
        self._on_progress: Progress = on_progress or untold
        self._password: dict[str, str] = {}

    async def add(
        self, kind: JobKind, title: str | None = None, external_id: str | None = None, password: str | None = None
    ) -> Any:
        """The view of the upload, with what it became. An earlier try at the same file is gone on with, whoever made it."""
        if password:
            self._password = {"Perenne-Password": _encoded(password)}
        size, sha256 = await asyncio.to_thread(measured, self._path)
        wanted = {
            "filename": self._path.name,
            "title": title or self._path.name,
            "external_id": external_id,
            "sha256": sha256,
            "kind": kind,
        }
        for tries_left in reversed(range(_TRIES)):
            url, offset = await self._begun(size, wanted)
            try:
                await self._sent(url, offset, size)
                return await self._patiently("GET", url, headers=self._password)
            except NotFound:  # too old meanwhile, or dropped: once more from its start
                if not tries_left:
                    raise
        raise AssertionError("unreachable: the last try raises")

    async def _begun(self, size: int, wanted: dict[str, str | None]) -> tuple[str, int]:
        for held in (await self._patiently("GET", self._where))["items"]:
            if held["length"] == size and all(held[name] == value for name, value in wanted.items()):
                return f"{self._where}/{held['id']}", held["offset"]
        told = ",".join(f"{name} {_encoded(value)}" for name, value in wanted.items() if value)
        made = await self._patiently("POST", self._where, headers={**_TUS, "Upload-Length": str(size), "Upload-Metadata": told})
        return f"{self._where}/{made['id']}", made["offset"]

    async def _patiently(self, method: str, path: str, **options: Any) -> Any:
        return await self._send(method, path, again_for_s=self._patience_s, **options)

    async def _sent(self, url: str, offset: int, size: int) -> None:
        """Send what is missing. What a broken request was about is asked of the server, which alone knows."""
        now = asyncio.get_running_loop().time
        moved_at, pause = now(), _PAUSE_S[0]
        self._on_progress(offset, size)
        with await asyncio.to_thread(self._path.open, "rb") as file:
            while offset < size:
                try:
                    offset, moved_at, pause = await self._piece(url, file, offset, size), now(), _PAUSE_S[0]
                    continue
                except (Unavailable, DeadlineExceeded, Busy, Conflict):  # the last: another request has it, or our view is old
                    if now() - moved_at > self._patience_s:
                        raise
                await asyncio.sleep(pause)
                pause = min(_PAUSE_S[1], pause * 2)
                told = await self._patiently("HEAD", url, headers={**_TUS, **self._password})
                if int(told["upload-offset"]) > offset:
                    moved_at = now()
                offset = int(told["upload-offset"])
                self._on_progress(offset, size)

    async def _piece(self, url: str, file: BinaryIO, offset: int, size: int) -> int:
        end = min(size, offset + _PIECE_BYTES)
        headers = {
            **_TUS,
            **self._password,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(end - offset),
        }
        content = self._blocks(file, offset, end, size)
        told = await self._send("PATCH", url, again_for_s=0.0, headers=headers, content=content)
        return int(told["upload-offset"])

    async def _blocks(self, file: BinaryIO, offset: int, end: int, size: int) -> AsyncIterator[bytes]:
        await asyncio.to_thread(file.seek, offset)
        while offset < end:
            block = await asyncio.to_thread(file.read, min(_BLOCK_BYTES, end - offset))
            if not block:
                raise InvalidRequest(f"{self._path} became shorter while it was sent")
            yield block
            offset += len(block)
            self._on_progress(offset, size)


async def is_large(path: Path) -> bool:
    """Whether a file goes in pieces."""
    return (await asyncio.to_thread(path.stat)).st_size >= PIECED_FROM_BYTES


def untold(done: int, total: int) -> None:
    """Nobody wants to know."""


def measured(path: Path) -> tuple[int, str]:
    """Size and SHA-256: by them the server knows the same file again, and that it came as it was."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()
