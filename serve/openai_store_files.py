"""The files of a vector store, one by one and in batches: documents in a project."""

import base64
import json
import time
import zlib
from typing import Annotated, Any, Literal

from fastapi import Query
from starlette.responses import Response

from perenne.errors import Conflict, InvalidRequest, NotFound
from perenne.messages.commands import UnlinkDocument
from perenne.messages.records import Document, DocumentState, Project
from serve.answers import json_answer
from serve.asking import Asking, Reading, Writing
from serve.documents import TEXT_CHARS_MAX
from serve.openai_bodies import FILES_A_BATCH, BatchBody, StoreFileBody, StoreFileChange, refuse_unkept
from serve.openai_files import documents_page
from serve.openai_lists import AfterId, Order, cut, listed
from serve.openai_stores import counts_of, link

Filter = Literal["in_progress", "completed", "failed", "cancelled"]
Limit = Annotated[int, Query(ge=1, le=100)]
_STATES: dict[Filter, tuple[DocumentState, ...]] = {
    "in_progress": ("queued", "indexing"),
    "completed": ("indexed",),
    "failed": ("refused", "failed"),
    "cancelled": (),
}
_STATUS = {state: status for status, states in _STATES.items() for state in states}


def store_file(project_id: str, document: Document) -> dict[str, Any]:
    """A document as a file of a store."""
    status, error = _STATUS[document.state], None
    if status == "failed":
        code = "unsupported_file" if document.state == "refused" else "server_error"
        error = {"code": code, "message": document.reason or "it could not be read"}
    return {
        "id": document.id,
        "object": "vector_store.file",
        "usage_bytes": document.size_bytes,
        "created_at": int(document.created_at),
        "vector_store_id": project_id,
        "status": status,
        "last_error": error,
        "chunking_strategy": {"type": "other"},
        "attributes": {},
    }


async def _held(ask: Asking, store_id: str, file_id: str) -> tuple[Project, Document]:
    project = await ask.caller.project(ask.store, store_id)
    document = await ask.caller.document(ask.store, file_id)
    if project.id not in document.project_ids:
        raise NotFound("file of the vector store", file_id)
    return project, document


async def add_store_file(ask: Writing, store_id: str, body: StoreFileBody) -> Response:
    """Put a file into the store. Its status is that of its indexing, which has begun when the file was sent."""
    project = await ask.caller.project(ask.store, store_id)
    await link(ask, project.id, [body.checked()])
    return json_answer(store_file(project.id, await ask.caller.document(ask.store, body.file_id)))


async def list_store_files(
    ask: Reading,
    store_id: str,
    limit: Limit = 20,
    order: Order = "desc",
    after: AfterId = None,
    before: AfterId = None,
    filter: Filter | None = None,
) -> Response:
    """The store's files, newest first unless `order` is `asc`. There is no way back from a page (`before`)."""
    if before is not None:
        raise InvalidRequest("before: lists of files go forward here; turn the order round", "before")
    project = await ask.caller.project(ask.store, store_id)
    states = None if filter is None else _STATES[filter]
    found, more = await documents_page(ask, project.id, states, limit, after, order)
    return json_answer(listed([store_file(project.id, document) for document in found], more))


async def get_store_file(ask: Reading, store_id: str, file_id: str) -> Response:
    """One file of the store."""
    project, document = await _held(ask, store_id, file_id)
    return json_answer(store_file(project.id, document))


async def change_store_file(ask: Writing, store_id: str, file_id: str, body: StoreFileChange) -> Response:
    """Files have no attributes here: only none is taken."""
    refuse_unkept(attributes=body.attributes)
    project, document = await _held(ask, store_id, file_id)
    return json_answer(store_file(project.id, document))


async def get_store_file_content(ask: Reading, store_id: str, file_id: str) -> Response:
    """The text that was read from the file; of a long one the first million characters."""
    _, document = await _held(ask, store_id, file_id)
    text = await ask.store.read("document_text", user_id=ask.user_id, document_id=document.id, start=0, end=TEXT_CHARS_MAX)
    return json_answer(
        {
            "object": "vector_store.file_content.page",
            "data": [{"type": "text", "text": text.text}],
            "has_more": text.total > len(text.text),
            "next_page": None,
        }
    )


async def remove_store_file(ask: Writing, store_id: str, file_id: str) -> Response:
    """Take a file out of the store. In its last one it stays: delete the file."""
    project, document = await _held(ask, store_id, file_id)
    command = UnlinkDocument(command_id=ask.command_id, user_id=ask.user_id, document_id=document.id, project_id=project.id)
    await ask.store.write(command)
    return json_answer({"id": document.id, "object": "vector_store.file.deleted", "deleted": True})


# Batches. A batch's id holds its birth and its files' ids, so that it is as durable as they are.


def batch_id(created_at: int, file_ids: list[str]) -> str:
    packed = zlib.compress(json.dumps([created_at, *file_ids]).encode(), 9)
    return "vsfb_" + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def batch_of(id: str) -> tuple[int, list[str]]:
    """Birth and files. NotFound when the id is none of ours."""
    try:
        packed = base64.urlsafe_b64decode(id.removeprefix("vsfb_") + "==")
        inflating = zlib.decompressobj()
        created_at, *file_ids = json.loads(inflating.decompress(packed, FILES_A_BATCH * 310))
    except (ValueError, TypeError, zlib.error):
        raise NotFound("batch", id) from None
    if not isinstance(created_at, int) or not all(isinstance(file_id, str) for file_id in file_ids):
        raise NotFound("batch", id)
    return created_at, file_ids


async def _batch(ask: Asking, store_id: str, id: str) -> tuple[Project, int, list[Document]]:
    """What is left of a batch: its files that are still in the store."""
    created_at, file_ids = batch_of(id)
    project = await ask.caller.project(ask.store, store_id)
    found: list[Document] = []
    for file_id in file_ids[:FILES_A_BATCH]:
        try:
            document = await ask.caller.document(ask.store, file_id)
        except NotFound:
            continue
        if project.id in document.project_ids:
            found.append(document)
    return project, created_at, found


def batch_body(id: str, project_id: str, created_at: int, documents: list[Document]) -> dict[str, Any]:
    states: dict[DocumentState, int] = {}
    for document in documents:
        states[document.state] = states.get(document.state, 0) + 1
    counts = counts_of(states)
    return {
        "id": id,
        "object": "vector_store.files_batch",
        "created_at": created_at,
        "vector_store_id": project_id,
        "status": "in_progress" if counts["in_progress"] else "completed",
        "file_counts": counts,
    }


async def add_batch(ask: Writing, store_id: str, body: BatchBody) -> Response:
    """Put several files into the store, 100 at most."""
    file_ids = body.checked()
    project = await ask.caller.project(ask.store, store_id)
    documents = [await ask.caller.document(ask.store, file_id) for file_id in file_ids]
    await link(ask, project.id, file_ids)
    created_at = int(time.time())
    return json_answer(batch_body(batch_id(created_at, file_ids), project.id, created_at, documents))


async def get_batch(ask: Reading, store_id: str, batch: str) -> Response:
    """How far a batch is."""
    project, created_at, documents = await _batch(ask, store_id, batch)
    return json_answer(batch_body(batch, project.id, created_at, documents))


async def cancel_batch(ask: Writing, store_id: str, batch: str) -> Response:
    """Indexing is the file's, not the batch's: a batch that is under way is not cancelled."""
    project, created_at, documents = await _batch(ask, store_id, batch)
    body = batch_body(batch, project.id, created_at, documents)
    if body["status"] == "in_progress":
        raise Conflict("the indexing of a file is cancelled by its job: POST /api/jobs/JOB/cancel")
    return json_answer(body)


async def list_batch_files(
    ask: Reading,
    store_id: str,
    batch: str,
    limit: Limit = 20,
    order: Order = "desc",
    after: AfterId = None,
    before: AfterId = None,
    filter: Filter | None = None,
) -> Response:
    """A batch's files, newest first unless `order` is `asc`."""
    project, _, documents = await _batch(ask, store_id, batch)
    documents.sort(key=lambda document: (document.created_at, document.id), reverse=order == "desc")
    rows = [document for document in documents if filter in (None, _STATUS[document.state])]
    found, more = cut(rows, limit, after, before)
    return json_answer(listed([store_file(project.id, document) for document in found], more))
