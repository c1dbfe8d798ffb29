"""What an engine is: one protocol a role. An engine sits in a file of its own and is chosen by name in the configuration."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from perenne.messages.models import (
    Embeddings,
    EmbedRequest,
    GenerateChunk,
    GenerateRequest,
    RerankRequest,
    RerankScores,
)

SIGN_OF_LIFE_S = 0.7  # a stream says something at least this often, text or not; its reader gives up after 3 s


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """Work in hand, and speeds as measured here; None until known."""

    queue: int = 0
    progress_age_s: float = 0.0
    idle_s: float = 0.0
    prompt_tokens_per_s: float | None = None
    tokens_per_s: float | None = None


class LanguageModel(Protocol):
    """Text from messages. `can_continue`: it goes on from a request's `prefix`."""

    can_continue: bool
    context_tokens: int | None

    def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        """Chunks as they come, the last with `finish_reason` and `usage`; a sign of life at least each second. Closing it stops
        the work within a second, in the middle of a prompt too. Busy when the line is full, EngineFailed when the engine raised,
        InvalidRequest when the request can't be done, such as a prompt longer than the context."""
        ...

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        """How many tokens each text is, without the chat template."""
        ...

    def figures(self) -> EngineFigures: ...

    def close(self) -> None:
        """Free the weights; work in hand is stopped first. Blocks; harmless twice."""
        ...


class Embedder(Protocol):
    """Vectors from texts, all of one space."""

    space: str
    dimension: int

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One unit vector a text, in order. A query goes before passages that wait. Busy when the line is full."""
        ...

    def figures(self) -> EngineFigures: ...

    def close(self) -> None:
        """Free the weights. Blocks; harmless twice."""
        ...


class Reranker(Protocol):
    """Scores for texts, each read together with the query."""

    async def rerank(self, request: RerankRequest) -> RerankScores:
        """One score a text, in order. Busy when the line is full."""
        ...

    def figures(self) -> EngineFigures: ...

    def close(self) -> None:
        """Free the weights. Blocks; harmless twice."""
        ...
