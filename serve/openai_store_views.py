"""What `/v1/vector_stores` answers; see `serve.openai_views`."""

from typing import Any, Literal

from typing_extensions import TypedDict

from serve.openai_views import shown

FileStatus = Literal["in_progress", "completed", "failed", "cancelled"]
Attributes = dict[str, Any]


class FileCounts(TypedDict):
    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int


_COUNTS: Any = {"in_progress": 0, "completed": 3, "failed": 0, "cancelled": 0, "total": 3}
_STORE: Any = {
    "id": "prj_0123",
    "object": "vector_store",
    "created_at": 1764115200,
    "name": "letters",
    "usage_bytes": 144639,
    "file_counts": _COUNTS,
    "status": "completed",
    "expires_after": None,
    "expires_at": None,
    "last_active_at": 1764115260,
    "metadata": {},
}


@shown(**_STORE)
class VectorStore(TypedDict):
    """A project. `completed` once each of its files is found by questions or was refused."""

    id: str
    object: Literal["vector_store"]
    created_at: int
    name: str
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["in_progress", "completed"]
    expires_after: None
    expires_at: None
    last_active_at: int
    metadata: Attributes


@shown(object="list", data=[_STORE], has_more=False, first_id="prj_0123", last_id="prj_0123")
class VectorStoreList(TypedDict):
    object: Literal["list"]
    data: list[VectorStore]
    has_more: bool
    first_id: str | None
    last_id: str | None


@shown(id="prj_0123", object="vector_store.deleted", deleted=True)
class VectorStoreDeleted(TypedDict):
    id: str
    object: Literal["vector_store.deleted"]
    deleted: Literal[True]


class TextShown(TypedDict):
    type: Literal["text"]
    text: str


class StoreHit(TypedDict):
    """A passage: `start` to `end` of its file's text."""

    file_id: str
    filename: str
    score: float
    attributes: Attributes
    content: list[TextShown]
    page: int | None
    start: int
    end: int


_HIT: Any = {
    "file_id": "doc_0123",
    "filename": "letters.pdf",
    "score": 0.91,
    "attributes": {},
    "content": [{"type": "text", "text": "It was built in 1863."}],
    "page": 2,
    "start": 10,
    "end": 31,
}


@shown(
    object="vector_store.search_results.page", search_query=["When was it built?"], data=[_HIT], has_more=False, next_page=None
)
class StoreHits(TypedDict):
    """The passages that bear on the query, best first."""

    object: Literal["vector_store.search_results.page"]
    search_query: list[str]
    data: list[StoreHit]
    has_more: bool
    next_page: None


class StoreFileError(TypedDict):
    code: Literal["unsupported_file", "server_error"]
    message: str


class Chunked(TypedDict):
    type: Literal["other"]


_FILE: Any = {
    "id": "doc_0123",
    "object": "vector_store.file",
    "usage_bytes": 48213,
    "created_at": 1764115200,
    "vector_store_id": "prj_0123",
    "status": "completed",
    "last_error": None,
    "chunking_strategy": {"type": "other"},
    "attributes": {},
}


@shown(**_FILE)
class StoreFile(TypedDict):
    """A document as a file of a store. `last_error` says why it was refused."""

    id: str
    object: Literal["vector_store.file"]
    usage_bytes: int
    created_at: int
    vector_store_id: str
    status: FileStatus
    last_error: StoreFileError | None
    chunking_strategy: Chunked
    attributes: Attributes


@shown(object="list", data=[_FILE], has_more=False, first_id="doc_0123", last_id="doc_0123")
class StoreFileList(TypedDict):
    object: Literal["list"]
    data: list[StoreFile]
    has_more: bool
    first_id: str | None
    last_id: str | None


@shown(
    object="vector_store.file_content.page", data=[{"type": "text", "text": "The lighthouse …"}], has_more=False, next_page=None
)
class StoreFileContent(TypedDict):
    object: Literal["vector_store.file_content.page"]
    data: list[TextShown]
    has_more: bool
    next_page: None


@shown(id="doc_0123", object="vector_store.file.deleted", deleted=True)
class StoreFileRemoved(TypedDict):
    id: str
    object: Literal["vector_store.file.deleted"]
    deleted: Literal[True]


@shown(
    id="vsfb_0123",
    object="vector_store.files_batch",
    created_at=1764115200,
    vector_store_id="prj_0123",
    status="completed",
    file_counts=_COUNTS,
)
class FileBatch(TypedDict):
    id: str
    object: Literal["vector_store.files_batch"]
    created_at: int
    vector_store_id: str
    status: Literal["in_progress", "completed"]
    file_counts: FileCounts
