"""What `/v1` answers, for the OpenAPI document."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIErrorBody:
    """An error as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIErrorEnvelope:
    error: OpenAIErrorBody
