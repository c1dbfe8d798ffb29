"""Chat completions in OpenAI's form, whole and in pieces."""

import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from perenne.ids import new_id
from perenne.messages.records import Citation, Usage
from serve.answers import json_bytes
from serve.errors import described, envelope, status_of
from serve.openai_generating import Said

END = b"data: [DONE]\n\n"
GRACE_S = 2.0  # how long a stream that cannot be resumed may still come to its end when the replica ends


def usage_body(usage: Usage | None) -> dict[str, Any]:
    usage = usage or Usage()
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def finish_reason_of(reason: str | None) -> str:
    """OpenAI knows no `cancelled`: a stopped answer stopped."""
    return reason if reason in ("length", "tool_calls") else "stop"


def logprobs_of(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """An engine's figures with the fields that OpenAI's clients expect."""
    return None if found is None else {"content": found.get("content"), "refusal": None}


def annotation(citation: Citation) -> dict[str, Any]:
    """A citation as the annotation that OpenAI's clients know, with our own fields beside it."""
    span = urlencode({"start": citation.start, "end": citation.end})
    return {
        "type": "url_citation",
        "url_citation": {
            "url": f"/api/documents/{citation.document_id}/text?{span}",
            "title": citation.title,
            "start_index": citation.answer_start,
            "end_index": citation.answer_end,
            "number": citation.number,
            "document_id": citation.document_id,
            "external_id": citation.external_id,
            "page": citation.page,
            "start": citation.start,
            "end": citation.end,
            "quote": citation.quote,
        },
    }


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion: its id, its model's name and its birth."""

    model: str
    id: str = field(default_factory=lambda: new_id("chatcmpl").replace("_", "-"))
    created: int = field(default_factory=lambda: int(time.time()))

    def piece(
        self, delta: dict[str, Any], finish_reason: str | None = None, logprobs: dict[str, Any] | None = None, **more: Any
    ) -> bytes:
        """One chunk of the stream."""
        choice = {"index": 0, "delta": delta, "logprobs": logprobs_of(logprobs), "finish_reason": finish_reason}
        return self._framed({"choices": [choice], **more})

    def usage_piece(self, usage: Usage | None) -> bytes:
        """The chunk that `stream_options.include_usage` asks for: no choice, only figures."""
        return self._framed({"choices": [], "usage": usage_body(usage)})

    def _framed(self, body: dict[str, Any]) -> bytes:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}
        return b"data: " + json_bytes({**head, **body}) + b"\n\n"

    def of(self, said: Said) -> dict[str, Any]:
        """The bare model's answer in one piece."""
        body = self.whole(said.text, said.finish_reason, said.usage, [])
        (choice,) = body["choices"]
        if said.calls:
            choice["message"] |= {"content": said.text or None, "tool_calls": said.calls}
        if said.logprobs:
            choice["logprobs"] = logprobs_of({"content": said.logprobs})
        return body

    def whole(
        self, text: str, finish_reason: str | None, usage: Usage | None, annotations: list[dict[str, Any]], **more: Any
    ) -> dict[str, Any]:
        """The answer in one piece."""
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": annotations}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason_of(finish_reason)}
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": usage_body(usage),
            **more,
        }


def error_piece(error: BaseException) -> bytes:
    """An error in the midst of a stream, as OpenAI's clients read it."""
    return b"data: " + json_bytes(envelope("/v1/", status_of(error), described(error))) + b"\n\n"
