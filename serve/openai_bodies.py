"""Bodies of `/v1` requests. As OpenAI's: fields that are not known here are passed over."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from perenne import names
from perenne.errors import InvalidRequest
from perenne.messages.records import Role

INPUTS_MAX = 2048  # as OpenAI's

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
T = TypeVar("T")
FailFast = Annotated[list[T], Field(fail_fast=True)]  # a refusal of a million wrong items would hold up the event loop
Text = Annotated[str, Field(max_length=names.MESSAGE_CHARS_MAX)]


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class TextPart(Lenient):
    type: Literal["text"]
    text: Text


class ChatMessageBody(Lenient):
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | FailFast[TextPart] | None = None

    def said(self) -> tuple[Role, str]:
        """Role and text, in our words."""
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content or ())
        return _ROLES[self.role], text


class StreamOptions(Lenient):
    include_usage: bool = False


class ChatBody(Lenient):
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
    model: str = Field(max_length=300)
    messages: list[ChatMessageBody] = Field(min_length=1, max_length=1000, fail_fast=True)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: FiniteFloat | None = Field(default=None, ge=0, le=2)
    top_p: FiniteFloat | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int | None = Field(default=None, ge=-(1 << 63), lt=1 << 63)
    stop: str | FailFast[Annotated[str, Field(max_length=200)]] | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    response_format: dict[str, Any] | None = None
    tools: FailFast[dict[str, Any]] | None = None

    def stops(self) -> tuple[str, ...]:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stop) > 8:
            raise InvalidRequest("stop: expected 8 sequences at most", "stop")
        return tuple(s for s in stop if s)

    def limit(self) -> int | None:
        """The newer name counts."""
        return self.max_completion_tokens or self.max_tokens

    def seed_of(self) -> int | None:
        return None if self.seed is None else self.seed % (1 << 31)

    def checked(self) -> "ChatBody":
        """InvalidRequest for what this server does not do."""
        if self.n not in (None, 1):
            raise InvalidRequest(f"n: expected 1, got {self.n}", "n")
        if self.tools:
            raise InvalidRequest("tools: not offered here", "tools")
        kind = (self.response_format or {}).get("type", "text")
        if kind != "text":
            raise InvalidRequest("response_format: expected text", "response_format")
        return self


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
