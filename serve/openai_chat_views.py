"""What `/v1/chat/completions` and `/v1/completions` answer, whole and in pieces; see `serve.openai_views`."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from serve.openai_views import OpenAIErrorEnvelope, shown

FinishReason = Literal["stop", "length", "tool_calls"]


class CachedTokens(TypedDict):
    cached_tokens: int


class CompletionUsage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class CitedUrl(TypedDict):
    """A passage of a document, and the claim that it holds: `start_index` to `end_index` of the answer rests on `start` to `end`
    of the document's text."""

    url: str
    title: str
    start_index: int
    end_index: int
    number: int
    document_id: str
    external_id: str | None
    page: int | None
    start: int
    end: int
    quote: str


class UrlCitation(TypedDict):
    type: Literal["url_citation"]
    url_citation: CitedUrl


class FunctionCalled(TypedDict):
    """`arguments`: JSON as the model wrote it."""

    name: str
    arguments: str


class ToolCalled(TypedDict):
    id: str
    type: Literal["function"]
    function: FunctionCalled


class Logprobs(TypedDict):
    """`content`: of each token what the engine says of it."""

    content: list[dict[str, Any]] | None
    refusal: None


class SourceShown(TypedDict):
    """A passage that the answer was written from."""

    chunk_id: int
    document_id: str
    title: str
    text: str
    start: int
    end: int
    score: float
    external_id: NotRequired[str | None]
    page: NotRequired[int | None]
    heading_path: NotRequired[list[str]]
    language: NotRequired[str | None]


class ChatMessageShown(TypedDict):
    """`content` is null where only tools are called."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    annotations: list[UrlCitation]
    tool_calls: NotRequired[list[ToolCalled]]


class ChatChoice(TypedDict):
    index: int
    message: ChatMessageShown
    logprobs: Logprobs | None
    finish_reason: FinishReason


USAGE: Any = {"prompt_tokens": 412, "completion_tokens": 9, "total_tokens": 421, "prompt_tokens_details": {"cached_tokens": 96}}
CITED: Any = {
    "url": "/api/documents/doc_0123/text?start=10&end=40",
    "title": "Lights",
    "start_index": 0,
    "end_index": 21,
    "number": 1,
    "document_id": "doc_0123",
    "external_id": None,
    "page": 2,
    "start": 10,
    "end": 40,
    "quote": "built in 1863",
}
_ANNOTATIONS = [{"type": "url_citation", "url_citation": CITED}]
_MESSAGE = {"role": "assistant", "content": "It was built in 1863.", "refusal": None, "annotations": _ANNOTATIONS}
SOURCE: Any = {
    "chunk_id": 7,
    "document_id": "doc_0123",
    "title": "Lights",
    "text": "It was built in 1863.",
    "start": 10,
    "end": 40,
    "score": 0.91,
}


@shown(
    id="chatcmpl-0123",
    object="chat.completion",
    created=1764115200,
    model="perenne",
    choices=[{"index": 0, "message": _MESSAGE, "logprobs": None, "finish_reason": "stop"}],
    usage=USAGE,
    run_id="run_0123",
    sources=[SOURCE],
)
class ChatCompletion(TypedDict):
    """`run_id` and `sources` are those of an answer from documents."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: CompletionUsage
    run_id: NotRequired[str]
    sources: NotRequired[list[SourceShown]]


class FunctionPiece(TypedDict):
    name: NotRequired[str | None]
    arguments: NotRequired[str | None]


class ToolPiece(TypedDict):
    """A piece of a call: those of one `index` belong together."""

    index: int
    id: NotRequired[str | None]
    type: NotRequired[Literal["function"] | None]
    function: NotRequired[FunctionPiece]


class ChatDelta(TypedDict):
    role: NotRequired[Literal["assistant"]]
    content: NotRequired[str]
    tool_calls: NotRequired[list[ToolPiece]]
    annotations: NotRequired[list[UrlCitation]]


class ChatChunkChoice(TypedDict):
    index: int
    delta: ChatDelta
    logprobs: Logprobs | None
    finish_reason: FinishReason | None


CHUNK: Any = {
    "id": "chatcmpl-0123",
    "object": "chat.completion.chunk",
    "created": 1764115200,
    "model": "perenne",
    "choices": [{"index": 0, "delta": {"content": " built"}, "logprobs": None, "finish_reason": None}],
}


@shown(**CHUNK)
class ChatCompletionChunk(TypedDict):
    """`choices` is empty in the last one, with the `usage` that `stream_options.include_usage` asks for. `sources` come once, before
    the words."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: NotRequired[CompletionUsage]
    sources: NotRequired[list[SourceShown] | None]


class TextLogprobs(TypedDict):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(TypedDict):
    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


TEXT: Any = {
    "id": "cmpl-0123",
    "object": "text_completion",
    "created": 1764115200,
    "model": "language",
    "choices": [{"index": 0, "text": ", there was a lighthouse.", "logprobs": None, "finish_reason": "stop"}],
}


@shown(**TEXT, usage=USAGE)
class TextCompletion(TypedDict):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: CompletionUsage


@shown(**TEXT)
class TextCompletionChunk(TypedDict):
    """A piece of the text; `usage` only where it was asked for, in the last one."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: NotRequired[CompletionUsage]


ChatPiece = ChatCompletionChunk | OpenAIErrorEnvelope
TextPiece = TextCompletionChunk | OpenAIErrorEnvelope
