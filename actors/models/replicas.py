"""What runs in a model's replica. Everything that blocks is in a thread, so that health and state answer at once."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from actors.models.engines import make_embedder, make_language, make_reranker
from actors.models.protocols import SIGN_OF_LIFE_S, Embedder, LanguageModel, Reranker
from actors.models.residence import Residence
from perenne import correlation
from perenne.errors import ConfigurationError, InvalidRequest, ModelNotReady
from perenne.messages.health import Health
from perenne.messages.models import (
    Embeddings,
    EmbedRequest,
    GenerateChunk,
    GenerateRequest,
    ModelState,
    RerankRequest,
    RerankScores,
)
from perenne.settings import Settings

log = logging.getLogger(__name__)

LOAD_WAIT_S = 60.0  # how long a request waits for weights that are on their way from disk into memory
HUNG_S = 120.0  # work in hand that has not moved for so long: the replica says that it is ill
_LOOK_S = 0.05


class _Replica:
    """What both roles have."""

    residence: Residence

    async def state(self) -> ModelState:
        """Where the model is."""
        return self.residence.state()

    async def warm(self) -> None:
        """Have it loaded soon; returns at once."""
        self.residence.want()

    async def leave(self, idle_s: float) -> None:
        """Memory is short: leave once it was idle for this long. A model that never leaves when idle stays."""
        self.residence.leave(idle_s)

    async def health(self) -> Health:
        """Ready when it can answer; otherwise degraded, with the reason."""
        state = self.residence.state()
        ready = state.phase in ("ready", "unloaded")
        share = "" if state.progress is None else f" {state.progress:.0%}"
        return Health(
            name=state.role,
            status="ready" if ready else "degraded",
            pid=os.getpid(),
            queue=state.queue,
            progress_age_s=state.progress_age_s,
            detail="" if ready else f"{state.phase}{share} {state.detail}".strip(),
        )

    async def check_health(self) -> None:
        """For Serve: raises when work in hand has not moved for long. Downloading, loading and failed are states, not illness:
        another replica would be no better."""
        age_s = self.residence.state().progress_age_s
        if age_s > HUNG_S:
            raise RuntimeError(f"the engine has not moved for {age_s:.0f} s")

    def close(self) -> None:
        """Stop and free everything; blocks for a moment."""
        self.residence.close()


class LanguageReplica(_Replica):
    def __init__(self, settings: Settings) -> None:
        self.residence: Residence[LanguageModel] = Residence(
            "language", settings.language, Path(settings.models_dir), make_language
        )
        self._streams: dict[str, asyncio.Event] = {}  # by request id: set to end the stream

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        """See `LanguageModel.stream`. A model that left when idle is loaded while signs of life are sent; one that is missing or
        on its way raises ModelNotReady. A second stream with the same request id ends the first: its reader was lost."""
        engine: LanguageModel | None = self.residence.engine
        deadline = time.monotonic() + LOAD_WAIT_S
        while engine is None:
            try:
                engine = self.residence.ready_engine()
            except ModelNotReady:
                if not self.residence.is_coming or time.monotonic() > deadline:
                    raise
                yield GenerateChunk(prompt_progress=0.0)
                await self._until_loaded(SIGN_OF_LIFE_S)
        self.residence.ready_engine()  # it is in use
        if request.prefix and not engine.can_continue:
            raise InvalidRequest("prefix: this engine can't go on from a text", "prefix")
        ended = self._replace(request.request_id)
        chunks = engine.stream(request)
        began, finish, tokens = time.monotonic(), "broken off", 0
        try:
            async for chunk in chunks:
                if ended.is_set():
                    return
                if chunk.finish_reason is not None:
                    finish, tokens = chunk.finish_reason, chunk.usage.completion_tokens if chunk.usage else 0
                yield chunk
        finally:
            log.log(correlation.level(), "wrote %d tokens in %.1f s (%s)", tokens, time.monotonic() - began, finish)
            await chunks.aclose()
            if self._streams.get(request.request_id) is ended:
                del self._streams[request.request_id]

    def _replace(self, request_id: str) -> asyncio.Event:
        before = self._streams.get(request_id)
        if before is not None:
            before.set()
        self._streams[request_id] = asyncio.Event()
        return self._streams[request_id]

    async def _until_loaded(self, within_s: float) -> None:
        end = time.monotonic() + within_s
        while self.residence.engine is None and self.residence.is_coming and time.monotonic() < end:
            await asyncio.sleep(_LOOK_S)

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        """How many tokens each text is, for the model in use."""
        return await self.residence.ready_engine().count_tokens(tuple(texts))


class EmbeddingReplica(_Replica):
    def __init__(self, settings: Settings) -> None:
        self.residence: Residence[Embedder] = Residence(
            "embedding", settings.embedding, Path(settings.models_dir), make_embedder, resident=True
        )

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `Embedder.embed`; ModelNotReady while it is missing, on its way or loading."""
        began = time.monotonic()
        made = await self.residence.ready_engine().embed(request)
        log.log(correlation.level(), "embedded %d texts in %.0f ms", made.count, (time.monotonic() - began) * 1000)
        return made


class RerankingReplica(_Replica):
    """Its weights leave when nobody asked for long: a search that finds them away goes on without, and has them loaded."""

    def __init__(self, settings: Settings) -> None:
        if settings.reranking is None:
            raise ConfigurationError("reranking: expected a model, got none")
        self.residence: Residence[Reranker] = Residence(
            "reranking", settings.reranking, Path(settings.models_dir), make_reranker
        )

    async def rerank(self, request: RerankRequest) -> RerankScores:
        """See `Reranker.rerank`; ModelNotReady, at once, while it is missing, on its way or loading."""
        began = time.monotonic()
        scores = await self.residence.ready_engine().rerank(request)
        log.log(correlation.level(), "put %d texts in order in %.0f ms", len(request.texts), (time.monotonic() - began) * 1000)
        return scores
