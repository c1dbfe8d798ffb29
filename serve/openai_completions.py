"""`/v1/completions`: the bare model goes on from a text, with no chat template."""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from perenne.errors import InvalidRequest, PerenneError
from perenne.ids import new_id
from perenne.messages.models import GenerateChunk
from serve.answers import json_answer, json_bytes
from serve.asking import Reading
from serve.live import EventStream, while_welcome
from serve.openai_bodies import CompletionBody
from serve.openai_chat import project_of
from serve.openai_generating import Said, chunks_from, collected, first_of, generated, need_language, request_of
from serve.openai_wire import END, GRACE_S, error_piece, finish_reason_of, usage_body

TOKENS = 16  # as OpenAI's, when the request does not say


@dataclass(frozen=True, slots=True)
class TextCompletion:
    """One completion: its id, its model's name and its birth."""

    model: str
    id: str = field(default_factory=lambda: new_id("cmpl").replace("_", "-"))
    created: int = field(default_factory=lambda: int(time.time()))

    def body(
        self, text: str, logprobs: list[dict[str, Any]] | None = None, finish_reason: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """The answer, or a piece of it."""
        choice = {"index": 0, "text": text, "logprobs": legacy_logprobs(logprobs), "finish_reason": finish_reason}
        head = {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}
        return {**head, "choices": [choice], **more}


def legacy_logprobs(content: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """The figures of each token in the older form; offsets count from the start of this piece."""
    if not content:
        return None
    offsets: list[int] = []
    at = 0
    for token in content:
        offsets.append(at)
        at += len(token["token"])
    return {
        "tokens": [token["token"] for token in content],
        "token_logprobs": [token["logprob"] for token in content],
        "top_logprobs": [{t["token"]: t["logprob"] for t in token.get("top_logprobs") or ()} for token in content],
        "text_offset": offsets,
    }


async def completions(ask: Reading, body: CompletionBody, request: Request) -> Response:
    """OpenAI's older completions: the language model writes on from the prompt. Answers from documents are chats."""
    prompt = body.checked()
    if project_of(body.model)[0]:
        raise InvalidRequest("model: answers from documents are asked for at /v1/chat/completions or /v1/responses", "model")
    need_language(ask.edge.settings, body.model)
    chunks = generated(ask, request_of(body, body.max_tokens or TOKENS, prompt=prompt))
    completion = TextCompletion(body.model)
    if not body.stream:
        said = await while_welcome(request, ask.key_ended, collected(chunks))
        reason = finish_reason_of(said.finish_reason)
        return json_answer(completion.body(said.text, said.logprobs, reason, usage=usage_body(said.usage)))
    first = await while_welcome(request, ask.key_ended, first_of(chunks))
    pieces = _pieces(completion, chunks_from(first, chunks), body.with_usage())
    return EventStream(pieces, ask.edge.closing, ask.key_ended, error_piece, grace_s=GRACE_S)


async def _pieces(
    completion: TextCompletion, chunks: AsyncGenerator[GenerateChunk], include_usage: bool
) -> AsyncIterator[bytes]:
    said = Said()
    async with contextlib.aclosing(chunks):
        try:
            async for chunk in chunks:
                said.add(chunk)
                if chunk.text:
                    yield _framed(completion.body(chunk.text, (chunk.logprobs or {}).get("content")))
        except PerenneError as error:
            yield error_piece(error)
            return
        yield _framed(completion.body("", None, finish_reason_of(said.finish_reason)))
        if include_usage:
            yield _framed({**completion.body("", usage=usage_body(said.usage)), "choices": []})
        yield END


def _framed(body: dict[str, Any]) -> bytes:
    return b"data: " + json_bytes(body) + b"\n\n"
