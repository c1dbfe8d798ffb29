"""`/v1/chat/completions`: from documents for `perenne` and `perenne:PROJECT`, else the bare model, of which nothing is stored."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from perenne import names
from perenne.errors import InvalidRequest, NotFound, PerenneError
from perenne.ids import new_id
from perenne.messages.models import ChatMessage, GenerateChunk, GenerateRequest
from perenne.messages.records import Usage
from perenne.settings import Settings
from serve.answers import json_answer
from serve.asking import Asking, Reading
from serve.grounded import grounded_answer
from serve.live import EventStream, while_welcome
from serve.openai_bodies import ChatBody
from serve.openai_wire import END, GRACE_S, Completion, error_piece, finish_reason_of

SILENCE_S = 60.0  # the longest that a generating model may say nothing, its place in the queue included

GROUNDED = "perenne"


def language_ids(settings: Settings) -> tuple[str, str]:
    """The names under which the bare model answers."""
    return settings.language.model, names.LANGUAGE


def project_of(model: str) -> tuple[bool, str | None]:
    """Whether a model id asks for answers from documents, and of which project."""
    head, colon, project = model.partition(":")
    if head != GROUNDED or (colon and not project):
        return False, None
    return True, project or None


async def chat_completions(ask: Reading, body: ChatBody, request: Request) -> Response:
    """OpenAI's chat completions. `perenne` answers from your documents (`perenne:NAME`: of one project), with citations as
    annotations; another model id is that model itself."""
    body.checked()
    grounded, project = project_of(body.model)
    if grounded:
        return await grounded_answer(ask, body, project, request)
    if body.model not in language_ids(ask.edge.settings):
        raise NotFound("model", body.model)
    return await bare_answer(ask, body, request)


def _request_of(body: ChatBody) -> GenerateRequest:
    said = [message.said() for message in body.messages]
    if not any(text for _, text in said):
        raise InvalidRequest("messages: expected some text", "messages")
    return GenerateRequest(
        request_id=new_id("gen"),
        messages=tuple(ChatMessage(role=role, content=text) for role, text in said),
        max_tokens=body.limit(),
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed_of(),
        stop=body.stops(),
    )


async def bare_answer(ask: Asking, body: ChatBody, request: Request) -> Response:
    """The bare model. Leaving ends the generation."""
    chunks = ask.edge.directory.stream(names.LANGUAGE, "stream", silence_s=SILENCE_S, request=_request_of(body))
    completion = Completion(body.model)
    if not body.stream:
        text, reason, usage = await while_welcome(request, ask.key_ended, _collected(chunks))
        return json_answer(completion.whole(text, reason, usage, []))
    first = await while_welcome(
        request, ask.key_ended, _first(chunks)
    )  # so that a model that is not there is a status, not a broken stream
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    pieces = _pieces(completion, first, chunks, include_usage)
    return EventStream(pieces, ask.edge.closing, ask.key_ended, error_piece, grace_s=GRACE_S)


async def _first(chunks: AsyncIterator[GenerateChunk]) -> GenerateChunk:
    return await anext(chunks, GenerateChunk(finish_reason="stop"))


async def _collected(chunks: AsyncIterator[GenerateChunk]) -> tuple[str, str | None, Usage | None]:
    parts: list[str] = []
    reason: str | None = None
    usage: Usage | None = None
    async with contextlib.aclosing(cast("AsyncGenerator[GenerateChunk]", chunks)):
        async for chunk in chunks:
            parts.append(chunk.text)
            reason, usage = chunk.finish_reason or reason, chunk.usage or usage
    return "".join(parts), reason, usage


async def _pieces(
    completion: Completion, first: GenerateChunk, rest: AsyncIterator[GenerateChunk], include_usage: bool
) -> AsyncIterator[bytes]:
    usage: Usage | None = None
    async with contextlib.aclosing(cast("AsyncGenerator[GenerateChunk]", rest)):
        yield completion.piece({"role": "assistant", "content": ""})
        chunk: GenerateChunk | None = first
        reason: str | None = None
        try:
            while chunk is not None:
                reason, usage = chunk.finish_reason or reason, chunk.usage or usage
                if chunk.text:
                    yield completion.piece({"content": chunk.text})
                chunk = await anext(rest, None)
        except PerenneError as error:
            yield error_piece(error)
            return
        yield completion.piece({}, finish_reason_of(reason))
        if include_usage:
            yield completion.usage_piece(usage)
        yield END
