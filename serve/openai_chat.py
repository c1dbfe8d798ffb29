"""`/v1/chat/completions`: from documents for `perenne` and `perenne:PROJECT`, else the bare model, of which nothing is stored."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from starlette.requests import Request
from starlette.responses import Response

from perenne.errors import InvalidRequest, PerenneError
from perenne.messages.models import GenerateChunk
from serve.answers import json_answer
from serve.asking import Asking, Reading
from serve.grounded import grounded_answer
from serve.live import EventStream, while_welcome
from serve.openai_bodies import ChatBody
from serve.openai_generating import Said, chunks_from, collected, first_of, generated, need_language, request_of
from serve.openai_wire import END, GRACE_S, Completion, error_piece, finish_reason_of

GROUNDED = "perenne"


def project_of(model: str) -> tuple[bool, str | None]:
    """Whether a model id asks for answers from documents, and of which project."""
    head, colon, project = model.partition(":")
    if head != GROUNDED or (colon and not project):
        return False, None
    return True, project or None


async def chat_completions(ask: Reading, body: ChatBody, request: Request) -> Response:
    """OpenAI's chat completions. `perenne` answers from your documents (`perenne:NAME`: of one project), with citations as
    annotations; another model id is that model itself, with tools and JSON formats as its engine does them."""
    body.checked()
    grounded, project = project_of(body.model)
    if grounded:
        return await grounded_answer(ask, body.checked_for_documents(), project, request)
    need_language(ask.edge.settings, body.model)
    return await bare_answer(ask, body, request)


async def bare_answer(ask: Asking, body: ChatBody, request: Request) -> Response:
    """The bare model. Leaving ends the generation."""
    messages = tuple(message.message() for message in body.messages)
    if not any(message.content for message in messages):
        raise InvalidRequest("messages: expected some text", "messages")
    chunks = generated(ask, request_of(body, body.limit(), messages))
    completion = Completion(body.model)
    if not body.stream:
        said = await while_welcome(request, ask.key_ended, collected(chunks))
        return json_answer(completion.of(said))
    first = await while_welcome(request, ask.key_ended, first_of(chunks))
    pieces = _pieces(completion, chunks_from(first, chunks), body.with_usage())
    return EventStream(pieces, ask.edge.closing, ask.key_ended, error_piece, grace_s=GRACE_S)


async def _pieces(completion: Completion, chunks: AsyncGenerator[GenerateChunk], include_usage: bool) -> AsyncIterator[bytes]:
    said = Said()
    async with contextlib.aclosing(chunks):
        yield completion.piece({"role": "assistant", "content": ""})
        try:
            async for chunk in chunks:
                said.add(chunk)
                if chunk.text:
                    yield completion.piece({"content": chunk.text}, logprobs=chunk.logprobs)
                if chunk.tool_calls:
                    yield completion.piece({"tool_calls": list(chunk.tool_calls)})
        except PerenneError as error:
            yield error_piece(error)
            return
        yield completion.piece({}, finish_reason_of(said.finish_reason))
        if include_usage:
            yield completion.usage_piece(said.usage)
        yield END
