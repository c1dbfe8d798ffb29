"""Bodies of `/v1` requests. As OpenAI's: fields that are not known here are passed over."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from perenne import names
from perenne.errors import InvalidRequest
from perenne.messages.models import ChatMessage
from perenne.messages.records import Role
from serve.numbers import with_whole_numbers

INPUTS_MAX = 2048  # as OpenAI's
FILES_A_BATCH = 100  # a batch's id names its files, and travels in a path

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_PASSED_ON = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
)
T = TypeVar("T")
FailFast = Annotated[list[T], Field(fail_fast=True)]  # a refusal of a million wrong items would hold up the event loop
Number = Annotated[FiniteFloat, Field(strict=True)]
Text = Annotated[str, Field(max_length=names.MESSAGE_CHARS_MAX)]


def example(**fields: Any) -> ConfigDict:
    return ConfigDict(extra="ignore", strict=True, json_schema_extra={"examples": [fields]})


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _fields(cls, given: Any) -> Any:
        return with_whole_numbers(given)


class TextPart(Lenient):
    type: Literal["text"]
    text: Text


class CalledFunction(Lenient):
    name: str = Field(max_length=200)
    arguments: Text


class ToolCall(Lenient):
    id: str = Field(max_length=200)
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessageBody(Lenient):
    """Of the parts of a content text is taken; pictures, sound and files are refused."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | FailFast[TextPart] | None = None
    name: str | None = Field(default=None, max_length=200)
    tool_calls: FailFast[ToolCall] | None = None
    tool_call_id: str | None = Field(default=None, max_length=200)

    def text(self) -> str:
        content = self.content
        return content if isinstance(content, str) else "".join(part.text for part in content or ())

    def said(self) -> tuple[Role, str]:
        """Role and text, in our words. InvalidRequest for a tool's answer: whoever asks for this has none."""
        if self.role == "tool":
            raise InvalidRequest("messages: an answer from documents takes no messages of tools", "messages")
        return _ROLES[self.role], self.text()

    def message(self) -> ChatMessage:
        """For an engine, with what belongs to tools."""
        more = self.model_dump(include={"name", "tool_calls", "tool_call_id"}, exclude_none=True)
        return ChatMessage(role="tool" if self.role == "tool" else _ROLES[self.role], content=self.text(), more=more)


class StreamOptions(Lenient):
    include_usage: bool = False


class FunctionBody(Lenient):
    name: str = Field(min_length=1, max_length=200)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolBody(Lenient):
    type: Literal["function"]
    function: FunctionBody


class NamedFunction(Lenient):
    name: str = Field(min_length=1, max_length=200)


class NamedTool(Lenient):
    type: Literal["function"]
    function: NamedFunction


class NamedSchema(Lenient):
    name: str = Field(min_length=1, max_length=200)
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Lenient):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class Sampling(Lenient):
    """What chats, completions and responses share."""

    model: str = Field(max_length=300)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Number | None = Field(default=None, ge=0, le=2)
    top_p: Number | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int | None = Field(default=None, ge=-(1 << 63), lt=1 << 63)
    stop: str | FailFast[Annotated[str, Field(max_length=200)]] | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    presence_penalty: Number | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: Number | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[str, Number] | None = Field(default=None, max_length=1000)

    def stops(self) -> tuple[str, ...]:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stop) > 8:
            raise InvalidRequest("stop: expected 8 sequences at most", "stop")
        return tuple(s for s in stop if s)

    def seed_of(self) -> int | None:
        return None if self.seed is None else self.seed % (1 << 31)

    def with_usage(self) -> bool:
        """Whether a stream ends with its figures."""
        return self.stream_options is not None and self.stream_options.include_usage

    def extra(self) -> dict[str, Any]:
        """The fields that an engine takes as they are."""
        return self.model_dump(include=set(_PASSED_ON), exclude_none=True, by_alias=True)

    def checked_one(self) -> None:
        """InvalidRequest when several answers are asked for: the model has one slot."""
        if self.n not in (None, 1):
            raise InvalidRequest(f"n: expected 1, got {self.n}", "n")


class ChatBody(Sampling):
    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "model": "perenne",
                    "messages": [{"role": "user", "content": "When was the lighthouse built?"}],
                    "stream": True,
                }
            ]
        },
    )
    messages: list[ChatMessageBody] = Field(min_length=1, max_length=1000, fail_fast=True)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    response_format: ResponseFormat | None = None
    tools: Annotated[list[ToolBody], Field(max_length=128, fail_fast=True)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    functions: list[Any] | None = None
    modalities: list[str] | None = Field(default=None, max_length=10)

    def limit(self) -> int | None:
        """The newer name counts."""
        return self.max_completion_tokens or self.max_tokens

    def checked(self) -> "ChatBody":
        """InvalidRequest for what this server does not do."""
        self.checked_one()
        if self.functions:
            raise InvalidRequest("functions: use tools", "functions")
        if set(self.modalities or ()) - {"text"}:
            raise InvalidRequest("modalities: expected text alone", "modalities")
        if self.response_format is not None and (self.response_format.type == "json_schema") != bool(
            self.response_format.json_schema
        ):
            raise InvalidRequest("response_format: json_schema goes with the type of that name", "response_format")
        return self

    def checked_for_documents(self) -> "ChatBody":
        """InvalidRequest for what an answer from documents cannot do: it is prose with citations, and calls nothing."""
        if self.tools and self.tool_choice != "none":
            raise InvalidRequest("tools: an answer from documents calls none; name the language model itself", "tools")
        if self.response_format is not None and self.response_format.type != "text":
            words = "response_format: an answer from documents is text; name the language model itself"
            raise InvalidRequest(words, "response_format")
        if self.logprobs:
            raise InvalidRequest("logprobs: an answer from documents has none; name the language model itself", "logprobs")
        return self


class CompletionBody(Sampling):
    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        json_schema_extra={"examples": [{"model": "language", "prompt": "Once upon a time", "max_tokens": 32}]},
    )
    prompt: Text | FailFast[Text] = Field(description="One text; lists of token numbers are not taken.")
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None
    logprobs: int | None = Field(default=None, ge=0, le=5)

    def checked(self) -> str:
        """The prompt. InvalidRequest for what this server does not do."""
        self.checked_one()
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if len(prompts) != 1 or not prompts[0]:
            raise InvalidRequest("prompt: expected one text that is not empty", "prompt")
        if self.suffix:
            raise InvalidRequest("suffix: the models here write what follows, not what lies between", "suffix")
        if self.best_of not in (None, 0, 1):
            raise InvalidRequest(f"best_of: expected 1, got {self.best_of}", "best_of")
        if self.echo:
            raise InvalidRequest("echo: the prompt is not repeated here", "echo")
        return prompts[0]


class EmbeddingBody(Lenient):
    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        json_schema_extra={"examples": [{"model": "use-multilingual-q8", "input": ["a passage", "un pasaje"]}]},
    )
    model: str = Field(max_length=300)
    input: Text | FailFast[Text] = Field(description="One text or several; lists of token numbers are not taken.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None

    def texts(self) -> tuple[str, ...]:
        texts = (self.input,) if isinstance(self.input, str) else tuple(self.input)
        if not 0 < len(texts) <= INPUTS_MAX:
            raise InvalidRequest(f"input: expected 1 to {INPUTS_MAX} texts, got {len(texts)}", "input")
        if not all(texts):
            raise InvalidRequest("input: expected no empty text", "input")
        return texts


Metadata = dict[str, Any]
_NOT_KEPT = "{0}: not kept here; leave it out"


def refuse_unkept(**fields: Any) -> None:
    """InvalidRequest for the first field that says something which nothing here would keep."""
    for name, value in fields.items():
        if value:
            raise InvalidRequest(_NOT_KEPT.format(name), name)


class Chunking(Lenient):
    type: Literal["auto", "static"] = "auto"

    def checked(self) -> None:
        """InvalidRequest for another splitter than ours."""
        if self.type != "auto":
            raise InvalidRequest("chunking_strategy: expected auto", "chunking_strategy")


class VectorStoreBody(Lenient):
    model_config = example(name="letters")
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")] | None = None
    file_ids: list[str] = Field(default=[], max_length=500, fail_fast=True)
    chunking_strategy: Chunking | None = None
    expires_after: dict[str, Any] | None = None
    metadata: Metadata | None = None

    def checked(self) -> None:
        refuse_unkept(metadata=self.metadata, expires_after=self.expires_after)
        if self.chunking_strategy is not None:
            self.chunking_strategy.checked()


class VectorStoreChange(Lenient):
    model_config = example(name="letters of 1912")
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")] | None = None
    expires_after: dict[str, Any] | None = None
    metadata: Metadata | None = None


class StoreFileBody(Lenient):
    model_config = example(file_id="doc_0123")
    file_id: str = Field(max_length=300)
    attributes: Metadata | None = None
    chunking_strategy: Chunking | None = None

    def checked(self) -> str:
        """The file's id."""
        refuse_unkept(attributes=self.attributes)
        if self.chunking_strategy is not None:
            self.chunking_strategy.checked()
        return self.file_id


class StoreFileChange(Lenient):
    model_config = example(attributes={})
    attributes: Metadata | None = None


class BatchBody(Lenient):
    model_config = example(file_ids=["doc_0123", "doc_4567"])
    file_ids: list[Annotated[str, Field(max_length=300)]] = Field(default=[], max_length=FILES_A_BATCH, fail_fast=True)
    files: list[StoreFileBody] = Field(default=[], max_length=FILES_A_BATCH, fail_fast=True)
    attributes: Metadata | None = None
    chunking_strategy: Chunking | None = None

    def checked(self) -> list[str]:
        """The files' ids."""
        refuse_unkept(attributes=self.attributes)
        if self.chunking_strategy is not None:
            self.chunking_strategy.checked()
        ids = list(dict.fromkeys([*self.file_ids, *(file.checked() for file in self.files)]))
        if not 0 < len(ids) <= FILES_A_BATCH:
            raise InvalidRequest(f"file_ids: expected 1 to {FILES_A_BATCH} files, got {len(ids)}", "file_ids")
        return ids


class RankingOptions(Lenient):
    ranker: str | None = None
    score_threshold: Number | None = None


class StoreSearchBody(Lenient):
    model_config = example(query="When was the lighthouse built?", max_num_results=5)
    query: str | FailFast[str]
    max_num_results: int = Field(default=10, ge=1, le=50)
    filters: dict[str, Any] | None = None
    ranking_options: RankingOptions | None = None
    rewrite_query: bool = False

    def checked(self) -> str:
        """The query, in one text."""
        if self.filters:
            raise InvalidRequest("filters: files have no attributes here; leave it out", "filters")
        query = self.query if isinstance(self.query, str) else "\n".join(self.query)
        if not 0 < len(query) <= names.QUERY_CHARS_MAX:
            raise InvalidRequest(f"query: expected 1 to {names.QUERY_CHARS_MAX} characters, got {len(query)}", "query")
        return query

    def least_score(self) -> float:
        options = self.ranking_options
        return 0.0 if options is None or options.score_threshold is None else options.score_threshold
