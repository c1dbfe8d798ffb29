"""What `/v1` answers, for the OpenAPI document and for whoever builds the answers: nothing here is run for an answer."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

T = TypeVar("T", bound=type)


def shown(**example: Any) -> Callable[[T], T]:
    """The reference shows this one."""
    return with_config(ConfigDict(json_schema_extra={"examples": [example]}))


class OpenAIErrorBody(TypedDict):
    """An error as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str | None


@shown(error={"message": "no model 'gpt'", "type": "not_found_error", "param": None, "code": "not_found"})
class OpenAIErrorEnvelope(TypedDict):
    error: OpenAIErrorBody


MODEL: Any = {"id": "perenne", "object": "model", "created": 1764115200, "owned_by": "perenne"}


@shown(**MODEL)
class ModelObject(TypedDict):
    """A name that a chat may give as `model`."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


@shown(object="list", data=[MODEL, {**MODEL, "id": "perenne:letters"}])
class ModelList(TypedDict):
    object: Literal["list"]
    data: list[ModelObject]


class EmbeddingObject(TypedDict):
    """`embedding`: numbers, or base64 of little-endian float32 where that was asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int


@shown(
    object="list",
    model="use-multilingual-q8",
    data=[{"object": "embedding", "index": 0, "embedding": [0.0213, -0.0541, 0.0377]}],
    usage={"prompt_tokens": 2, "total_tokens": 2},
)
class EmbeddingList(TypedDict):
    object: Literal["list"]
    model: str
    data: list[EmbeddingObject]
    usage: EmbeddingUsage


FILE: Any = {
    "id": "doc_0123",
    "object": "file",
    "bytes": 48213,
    "created_at": 1764115200,
    "filename": "letters.pdf",
    "purpose": "assistants",
    "status": "processed",
    "status_details": None,
}


@shown(**FILE)
class FileObject(TypedDict):
    """A document as a file. `status_details` says why it was refused."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["assistants"]
    status: Literal["uploaded", "processed", "error"]
    status_details: str | None


@shown(object="list", data=[FILE], has_more=False, first_id="doc_0123", last_id="doc_0123")
class FileList(TypedDict):
    object: Literal["list"]
    data: list[FileObject]
    has_more: bool
    first_id: str | None
    last_id: str | None


@shown(id="doc_0123", object="file", deleted=True)
class FileDeleted(TypedDict):
    id: str
    object: Literal["file"]
    deleted: Literal[True]
