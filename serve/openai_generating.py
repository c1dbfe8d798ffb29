"""The bare model for `/v1`: what it is asked, and its answer whole. Nothing of it is stored."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

from perenne import names
from perenne.errors import NotFound
from perenne.ids import new_id
from perenne.messages.models import ChatMessage, GenerateChunk, GenerateRequest
from perenne.messages.records import Usage
from perenne.settings import Settings
from serve.asking import Asking
from serve.openai_bodies import Sampling

SILENCE_S = 60.0  # the longest that a generating model may say nothing, its place in the queue included


def language_ids(settings: Settings) -> tuple[str, str]:
    """The names under which the bare model answers."""
    return settings.language.model, names.LANGUAGE


def need_language(settings: Settings, model: str) -> None:
    """NotFound unless it is the bare model's name."""
    if model not in language_ids(settings):
        raise NotFound("model", model)


def request_of(
    body: Sampling, limit: int | None, messages: tuple[ChatMessage, ...] = (), prompt: str | None = None
) -> GenerateRequest:
    """What the engine is asked."""
    return GenerateRequest(
        request_id=new_id("gen"),
        messages=messages,
        prompt=prompt,
        max_tokens=limit,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed_of(),
        stop=body.stops(),
        extra=body.extra(),
    )


def generated(ask: Asking, request: GenerateRequest) -> AsyncGenerator[GenerateChunk]:
    """The engine's chunks as they come; closing them ends the work."""
    chunks = ask.edge.directory.stream(names.LANGUAGE, "stream", silence_s=SILENCE_S, request=request)
    return cast("AsyncGenerator[GenerateChunk]", chunks)


async def first_of(chunks: AsyncIterator[GenerateChunk]) -> GenerateChunk:
    """So that a model that is not there is a status, not a broken stream."""
    return await anext(chunks, GenerateChunk(finish_reason="stop"))


async def chunks_from(first: GenerateChunk, rest: AsyncGenerator[GenerateChunk]) -> AsyncGenerator[GenerateChunk]:
    """The first one and the rest."""
    async with contextlib.aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


@dataclass(slots=True)
class Said:
    """An answer as it grows."""

    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    logprobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    finish_reason: str | None = None
    usage: Usage | None = None

    def add(self, chunk: GenerateChunk) -> None:
        """Take the next chunk; calls of tools come in pieces, by their index."""
        self.text += chunk.text
        for piece in chunk.tool_calls:
            index = int(piece.get("index", 0))
            while len(self.calls) <= index:
                self.calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
            call, function = self.calls[index], piece.get("function") or {}
            call["id"] = piece.get("id") or call["id"]
            call["function"]["name"] += function.get("name") or ""
            call["function"]["arguments"] += function.get("arguments") or ""
        self.logprobs += (chunk.logprobs or {}).get("content") or []
        self.finish_reason, self.usage = chunk.finish_reason or self.finish_reason, chunk.usage or self.usage


async def collected(chunks: AsyncGenerator[GenerateChunk]) -> Said:
    """The whole answer."""
    said = Said()
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            said.add(chunk)
    return said
