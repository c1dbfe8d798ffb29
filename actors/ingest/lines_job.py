"""A file of JSON lines: each good line a document, many documents a transaction; begun again, it goes on at the next line."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.ingest import pipeline
from actors.ingest.document_job import Workshop
from actors.ingest.holding import Holding
from actors.ingest.line_reader import LineReader, Place
from actors.ingest.parsed import Refused
from actors.ingest.pipeline import Part


async def index_lines(shop: Workshop, holding: Holding, path: Path) -> dict[str, Any]:
    """-> {"added", "skipped", "chunks", "errors"}. Raises Refused when no line of it can be used, EmbedderAway, LeaseLost."""
    job = holding.job
    place = Place.load(job.checkpoint)
    if job.open_document_id is None:  # the document of a long line was taken back or replaced: its parts go in anew
        place = replace(place, part=0)
    reader = await asyncio.to_thread(LineReader, path, job.project_id or "", shop.chunk_chars, place)

    async def parts() -> AsyncIterator[Part]:
        while True:
            with shop.pulse.step(60.0):
                batch = await asyncio.to_thread(reader.batch)
            if not batch:
                return
            for part in batch:
                yield part

    async def commit(part: Part) -> None:
        await holding.commit(
            part.documents,
            space=shop.embedder.space,
            checkpoint=part.checkpoint,
            done=part.done,
            total=part.total,
            unit="bytes",
        )

    try:
        await pipeline.run(parts(), shop.embedder, commit)
    finally:
        await asyncio.shield(asyncio.to_thread(reader.close))
    place = reader.place
    if place.added == 0:
        why = f"; line {place.errors[0]['line']}: {place.errors[0]['error']}" if place.errors else ""
        said = f"none of its {place.line:,} lines holds a document{why}"
        raise Refused("no_documents", said, {"lines": place.line}, place.result())
    return place.result()
