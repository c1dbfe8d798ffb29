"""The models as Serve applications: "language", "embedding" and "reranking", deployed by import string."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Generic, TypeVar

from ray import serve as ray_serve

from actors.models.replicas import EmbeddingReplica, LanguageReplica, RerankingReplica
from perenne import logs, metrics, names
from perenne import metric_table as table
from perenne.client import ray_instrument
from perenne.correlation import takes_ids
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

R = TypeVar("R", LanguageReplica, EmbeddingReplica, RerankingReplica)

_OPTIONS: dict[str, Any] = {
    "num_replicas": 1,
    "max_ongoing_requests": 256,  # the bound is the model's own line, which says Busy with a time
    "ray_actor_options": {"num_cpus": 0},
    "graceful_shutdown_timeout_s": 2.0,
    "graceful_shutdown_wait_loop_s": 0.1,
    "health_check_period_s": 1.0,
    "health_check_timeout_s": 5.0,  # llama.cpp holds the interpreter while it loads: 5 s for 1.5B on a crowded machine
}


def _settings(args: dict[str, Any]) -> Settings:
    return Settings.model_validate(args["settings"])


@takes_ids
class _Model(Generic[R]):
    """What the replicas of every role answer."""

    def __init__(self, role: str, make: Callable[[Settings], R], settings: dict[str, Any]) -> None:
        given = Settings.model_validate(settings)
        logs.begin(role, given)
        self._replica = make(given)
        metrics.look(self._count)
        metrics.begin(role, ray_instrument)

    def _count(self) -> None:
        state = self._replica.residence.state()
        metrics.tell(table.MODEL_READY, float(state.phase == "ready"), state.role)
        metrics.tell(table.MODEL_QUEUE, state.queue, state.role)
        if state.prompt_tokens_per_s is not None:
            metrics.tell(table.MODEL_PROMPT_SPEED, state.prompt_tokens_per_s, state.role)
        if state.tokens_per_s is not None:
            metrics.tell(table.MODEL_SPEED, state.tokens_per_s, state.role)

    async def warm(self) -> None:
        await self._replica.warm()

    async def leave(self, idle_s: float) -> None:
        await self._replica.leave(idle_s)

    async def state(self) -> ModelState:
        return await self._replica.state()

    async def health(self) -> Health:
        return await self._replica.health()

    async def check_health(self) -> None:
        await self._replica.check_health()

    async def __del__(self) -> None:
        await asyncio.to_thread(self._replica.close)


@takes_ids
class _Language(_Model[LanguageReplica]):
    """A replica of "language"; see `LanguageReplica`, whose methods these are."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(names.LANGUAGE, LanguageReplica, settings)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        chunks = self._replica.stream(request)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        return await self._replica.count_tokens(texts)


@takes_ids
class _Embedding(_Model[EmbeddingReplica]):
    """A replica of "embedding"; see `EmbeddingReplica`, whose methods these are."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(names.EMBEDDING, EmbeddingReplica, settings)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        return await self._replica.embed(request)


@takes_ids
class _Reranking(_Model[RerankingReplica]):
    """A replica of "reranking"; see `RerankingReplica`, whose methods these are."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(names.RERANKING, RerankingReplica, settings)

    async def rerank(self, request: RerankRequest) -> RerankScores:
        return await self._replica.rerank(request)


def language(args: dict[str, Any]) -> Any:
    """The application "language". `args`: {"settings": Settings.model_dump()}."""
    settings = _settings(args)
    return ray_serve.deployment(name="Language", **_OPTIONS)(_Language).bind(settings.model_dump())


def embedding(args: dict[str, Any]) -> Any:
    """The application "embedding". `args`: {"settings": Settings.model_dump()}."""
    settings = _settings(args)
    return ray_serve.deployment(name="Embedding", **_OPTIONS)(_Embedding).bind(settings.model_dump())


def reranking(args: dict[str, Any]) -> Any:
    """The application "reranking". `args`: {"settings": Settings.model_dump()}."""
    settings = _settings(args)
    return ray_serve.deployment(name="Reranking", **_OPTIONS)(_Reranking).bind(settings.model_dump())
