"""What models are asked and answer."""

from dataclasses import dataclass, field
from typing import Any, Literal

from perenne.messages.records import Role, Usage

ModelPhase = Literal["missing", "downloading", "loading", "ready", "unloaded", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """Where a model is. `progress` is 0 to 1 of the present phase, when known; `detail` says it in words.

    `prompt_tokens_per_s` and `tokens_per_s` are measured on this machine, None until known."""

    role: str
    model_id: str
    phase: ModelPhase
    progress: float | None = None
    detail: str = ""
    context_tokens: int | None = None
    dimension: int | None = None
    space: str | None = None
    queue: int = 0
    progress_age_s: float = 0.0
    pid: int = 0
    prompt_tokens_per_s: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """`more`: OpenAI's other fields of a message (tool_calls, tool_call_id, name), for the engine as they are."""

    role: Role | Literal["tool"]
    content: str
    more: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """`prefix`: text the answer already has; an engine that `can_continue` goes on from there, another raises InvalidRequest.

    `prompt`: a bare text to go on from, with no chat template, instead of messages. `grammar`: GBNF; `extra`: fields of OpenAI's
    request that the engine may pass on (tools, response_format, …)."""

    request_id: str
    messages: tuple[ChatMessage, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    prefix: str = ""
    prompt: str | None = None
    grammar: str | None = None
    extra: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateChunk:
    """A stretch of text, or (text empty) a sign of life while the prompt is read: `prompt_progress` 0 to 1. The last has `finish_reason`.

    `tool_calls` and `logprobs` are OpenAI's deltas as the engine gives them."""

    text: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    logprobs: dict[str, Any] | None = None
    prompt_progress: float | None = None
    finish_reason: Literal["stop", "length", "tool_calls", "cancelled"] | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    texts: tuple[str, ...]
    kind: Literal["query", "passage"] = "passage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """`data`: float32, little-endian, row-major, `count` × `dimension`, unit length."""

    space: str
    dimension: int
    count: int
    data: bytes
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """How well does each text answer the query?"""

    query: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankScores:
    """One score a text, in the order of the request, from 0 to 1. They compare texts for one query, and say nothing across queries."""

    scores: tuple[float, ...]
    tokens: int = 0
