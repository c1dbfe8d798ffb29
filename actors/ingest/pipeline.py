"""Parts on their way into the store: embedded while the next is made and the last is written, in order, in bounded number."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from actors.ingest.pulse import Pulse
from perenne import metric_table as table
from perenne import metrics, names
from perenne.directory import Directory
from perenne.errors import Busy, DeadlineExceeded, EngineFailed, ModelNotReady, Unavailable
from perenne.messages.commands import IndexedDocument
from perenne.messages.models import Embeddings, EmbedRequest

PART_CHUNKS = 200  # passages of one transaction
PARTS_IN_FLIGHT = 3  # being embedded or waiting to be written
_BATCH = 64  # texts of one call to the embedder
_CALL_S = 60.0  # one such call
_PATIENCE_S = 15.0  # how long an embedder that went away is waited for, before the job is put back
_RELEASE_S = (2.0, 15.0)  # shortest and longest time that a job is put back for
_ENGINE_TRIES = 3


class EmbedderAway(Exception):
    """There is no embedder now; the job goes back to the queue for `delay_s`."""

    def __init__(self, reason: str, delay_s: float) -> None:
        super().__init__(reason)
        self.delay_s = min(max(delay_s, _RELEASE_S[0]), _RELEASE_S[1])


@dataclass(frozen=True, slots=True)
class Part:
    """One transaction's worth. `documents` come without vectors; `done` and `total` are the progress once it is written."""

    documents: tuple[IndexedDocument, ...]
    checkpoint: str
    done: int
    total: int | None


class Embedder:
    """Vectors for passages, over the embedding model wherever it is."""

    def __init__(self, directory: Directory, pulse: Pulse, space: str) -> None:
        self._directory, self._pulse = directory, pulse
        self.space = space
        self._at_once = asyncio.Semaphore(3)  # two computing, one at the door: the model never waits for us

    async def _call(self, texts: tuple[str, ...]) -> Embeddings:
        """One call, again for a while when the model is busy or restarting."""
        until = time.monotonic() + _PATIENCE_S
        failures = 0
        while True:
            try:
                with self._pulse.step(_CALL_S + 5.0):
                    answer: Embeddings = await self._directory.call(
                        names.EMBEDDING, "embed", timeout_s=_CALL_S, request=EmbedRequest(texts=texts, kind="passage")
                    )
                self._check(answer, len(texts))
                return answer
            except Busy as error:  # it works, for others too: waiting is all there is to do
                until = time.monotonic() + _PATIENCE_S
                pause = error.retry_after_s
            except ModelNotReady as error:
                raise EmbedderAway(f"waiting for the embedding model: {error}", error.retry_after_s) from error
            except (Unavailable, DeadlineExceeded) as error:
                if time.monotonic() > until:
                    raise EmbedderAway(f"waiting for the embedding model: {error}", 5.0) from error
                pause = getattr(error, "retry_after_s", 0.5)
            except EngineFailed:
                failures += 1
                if failures >= _ENGINE_TRIES:
                    raise
                pause = 0.5
            with self._pulse.step(10.0):
                await asyncio.sleep(min(max(pause, 0.05), 2.0))

    @staticmethod
    def _check(answer: Embeddings, count: int) -> None:
        if answer.count != count or len(answer.data) != 4 * count * answer.dimension:
            raise EngineFailed("embedding", f"asked for {count} vectors, got {answer.count} in {len(answer.data)} bytes")

    async def embed(self, texts: list[str]) -> bytes:
        """One row a text, in order; EmbedderAway when there is no model."""
        rows: list[bytes] = []
        for at in range(0, len(texts), _BATCH):
            async with self._at_once:
                answer = await self._call(tuple(texts[at : at + _BATCH]))
            if answer.space != self.space:  # another model than the settings name: its own name is the truth
                self.space = answer.space
            rows.append(answer.data)
        return b"".join(rows)

    async def fill(self, part: Part) -> Part:
        """The part with its vectors."""
        texts = [chunk.text for document in part.documents for chunk in document.chunks]
        if not texts:
            return part
        data = await self.embed(texts)
        width = len(data) // len(texts)
        documents: list[IndexedDocument] = []
        at = 0
        for document in part.documents:
            size = width * len(document.chunks)
            documents.append(replace(document, vectors=data[at : at + size]))
            at += size
        return replace(part, documents=tuple(documents))


async def run(parts: AsyncIterator[Part], embedder: Embedder, commit: Callable[[Part], Awaitable[None]]) -> None:
    """Bring every part into the store, in order. The first error ends all of it and is raised as it is."""
    queue: asyncio.Queue[asyncio.Task[Part] | None] = asyncio.Queue(PARTS_IN_FLIGHT)
    tasks: set[asyncio.Task[Part]] = set()

    async def produce() -> None:
        async for part in parts:
            task = asyncio.create_task(embedder.fill(part))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await queue.put(task)
        await queue.put(None)

    producing = asyncio.create_task(produce())
    getting: asyncio.Task[asyncio.Task[Part] | None] | None = None
    try:
        while True:
            getting = asyncio.create_task(queue.get())
            await asyncio.wait([getting, producing], return_when=asyncio.FIRST_COMPLETED)
            if not getting.done() and producing.done() and producing.exception() is not None:
                getting.cancel()
                producing.result()
            task = await getting
            if task is None:
                return
            part = await task
            await commit(part)
            metrics.tell(table.PASSAGES, sum(len(document.chunks) for document in part.documents))
    finally:
        ending: list[asyncio.Task[Any]] = [producing, *tasks, *([] if getting is None else [getting])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
