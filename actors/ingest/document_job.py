"""One file: parsed beside us, cut, embedded, stored in parts; begun again, it goes on after the last stored part."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from actors.ingest import pipeline
from actors.ingest.blob_files import BlobFiles
from actors.ingest.holding import Holding
from actors.ingest.members import MemberAdder
from actors.ingest.parsed import Refused
from actors.ingest.parser_pool import ParsedFile, ParserPool, drop_result, load_result, members_folder
from actors.ingest.parts import document_parts, fingerprint
from actors.ingest.passwords import Passwords
from actors.ingest.pipeline import Embedder, Part
from actors.ingest.pulse import Pulse
from perenne.errors import LeaseLost, NotFound
from perenne.messages.commands import IndexedDocument, NewChunk
from perenne.messages.records import Document
from perenne.store import Store

PARSER_VERSION = 2  # raised when the same file would be read or cut otherwise: kept results of before are not used


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What every job works with."""

    store: Store
    pool: ParserPool
    embedder: Embedder
    blobs: BlobFiles
    passwords: Passwords
    pulse: Pulse
    parsing: asyncio.Semaphore
    work: Path
    chunk_chars: int
    step_s: float  # bound of one parse


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`parts` are stored of the cutting that `digest` names."""

    parts: int = 0
    digest: str = ""

    @staticmethod
    def load(text: str | None) -> "Checkpoint":
        try:
            row: Any = orjson.loads(text or "{}")
            return Checkpoint(int(row["parts"]), str(row["digest"]))
        except (ValueError, KeyError, TypeError):
            return Checkpoint()

    def dump(self) -> str:
        return orjson.dumps({"parts": self.parts, "digest": self.digest}).decode()


def kept_result(shop: Workshop, job_id: str) -> Path:
    """Where the parse of a job is kept until the job ends, so that an embedder's outage doesn't cost it twice."""
    return shop.work / f"{job_id}-{PARSER_VERSION}-{shop.chunk_chars}.json"


async def _parsed(shop: Workshop, holding: Holding, path: Path) -> ParsedFile:
    job, kept = holding.job, kept_result(shop, holding.job.id)
    if kept.exists():
        try:
            return await asyncio.to_thread(load_result, kept)
        except (OSError, ValueError, KeyError, TypeError):
            await asyncio.to_thread(drop_result, kept)
    async with shop.parsing:
        with shop.pulse.step(shop.step_s):
            return await shop.pool.parse(
                path,
                name=job.filename or "",
                output=kept,
                media_type=job.media_type,
                password=shop.passwords.of(job.id),
                on_progress=lambda done, total: holding.progress(done, total, "pages"),
            )


def _parts(document: Document, parsed: ParsedFile) -> tuple[list[IndexedDocument], str]:
    chunks = [
        NewChunk(
            ordinal=number,
            text=parsed.text[c.start : c.end],
            start=c.start,
            end=c.end,
            page=c.page,
            heading_path=c.heading_path,
            language=c.language,
        )
        for number, c in enumerate(parsed.chunks)
    ]
    parts = document_parts(
        document.id,
        document.title,
        parsed.text,
        chunks,
        external_id=document.external_id,
        language=parsed.language,
        pages=parsed.pages,
    )
    return list(parts), fingerprint(parsed.text, chunks)


async def index_document(shop: Workshop, holding: Holding, path: Path) -> dict[str, Any]:
    """-> the job's result. Raises Refused, ParserDied, EmbedderAway, LeaseLost."""
    job = holding.job
    try:
        document: Document = await shop.store.read("document", user_id=job.user_id, document_id=job.document_id)
    except NotFound:
        raise LeaseLost(job.id) from None
    parsed = await _parsed(shop, holding, path)
    if not parsed.chunks:
        raise Refused("empty", "there is no text in it")
    told: dict[str, Any] = {}
    if parsed.members:
        folder = members_folder(kept_result(shop, job.id))
        told = await MemberAdder(holding, shop.blobs, document, folder).all(parsed)
    parts, digest = await asyncio.to_thread(_parts, document, parsed)
    digest = f"{digest}-{shop.embedder.space}"
    stored = Checkpoint.load(job.checkpoint)
    skip = stored.parts if stored.digest == digest and stored.parts < len(parts) else 0
    total = len(parsed.chunks)

    async def remaining() -> AsyncIterator[Part]:
        done = sum(len(part.chunks) for part in parts[:skip])
        for number in range(skip, len(parts)):
            done += len(parts[number].chunks)
            yield Part((parts[number],), Checkpoint(number + 1, digest).dump(), done, total)

    async def commit(part: Part) -> None:
        await holding.commit(
            part.documents, space=shop.embedder.space, checkpoint=part.checkpoint, done=part.done, total=total, unit="chunks"
        )

    holding.progress(sum(len(part.chunks) for part in parts[:skip]), total, "chunks")
    if stored.digest == digest and stored.parts >= len(parts):
        return told | {"chunks": total}  # all of it was stored, only the end was not told
    await pipeline.run(remaining(), shop.embedder, commit)
    return told | {"chunks": total}
