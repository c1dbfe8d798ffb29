"""`/v1/files` on documents. A file is a document of the project `default`, or of the key's own: what is sent is indexed."""

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from perenne.errors import InvalidRequest, NotFound
from perenne.ids import new_id
from perenne.messages.commands import AddDocument, CreateProject, DeleteDocument, DocumentAdded
from perenne.messages.records import Document, Page, Project
from serve.answers import json_answer
from serve.asking import Asking, Reading, Writing
from serve.documents import get_document_file
from serve.openai_lists import PAGE, AfterId, Order, cut, every, listed, place_of
from serve.uploads import media_type_of, receive_file

HOME = "default"  # the project of files that were put into none
PURPOSES = ("assistants", "user_data")
_FIELDS = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})


def file_body(document: Document) -> dict[str, Any]:
    """A document as a file. OpenAI's `purpose` is not kept: every file here is for answers."""
    status = {"indexed": "processed", "refused": "error", "failed": "error"}.get(document.state, "uploaded")
    return {
        "id": document.id,
        "object": "file",
        "bytes": document.size_bytes,
        "created_at": int(document.created_at),
        "filename": document.filename or document.title,
        "purpose": "assistants",
        "status": status,
        "status_details": document.reason,
    }


async def home_of(ask: Asking) -> Project:
    """The project that takes files: the key's own, else `default`, which is made when it is not there."""
    own = ask.caller.key.project_id
    try:
        return await ask.caller.project(ask.store, own or HOME)
    except NotFound:
        if own is not None:
            raise
    made = CreateProject(command_id=f"{ask.command_id}:home", user_id=ask.user_id, project_id=new_id("prj"), name=HOME)
    return await ask.store.write(made)


async def create_file(ask: Writing, request: Request) -> Response:
    """Send a file. Once answered, file and job are on disk; indexing goes on behind. The same bytes again are the first file."""
    home = await home_of(ask)
    file = await receive_file(request, ask, _FIELDS)
    purpose = file.fields.get("purpose", "")
    if purpose not in PURPOSES:
        raise InvalidRequest(f"purpose: expected {' or '.join(PURPOSES)}, got {purpose!r}", "purpose")
    if any(name.startswith("expires_after") for name in file.fields):
        raise InvalidRequest("expires_after: not kept here; delete the file when it has served", "expires_after")
    command = AddDocument(
        command_id=ask.command_id,
        user_id=ask.user_id,
        document_id=ask.id("doc"),
        job_id=ask.id("job"),
        project_id=home.id,
        title=file.filename,
        blob_hash=file.blob_hash,
        size_bytes=file.size,
        filename=file.filename,
        media_type=media_type_of(file.content_type),
    )
    added: DocumentAdded = await ask.store.write(command)
    ask.edge.wake_ingest()
    return json_answer(file_body(added.document))


async def list_files(
    ask: Reading,
    after: AfterId = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Order = "desc",
    purpose: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """Files, newest first unless `order` is `asc`. Their purpose is always `assistants`."""
    if purpose not in (None, "assistants"):
        return json_answer(listed([], False))
    found, more = await documents_page(ask, ask.caller.key.project_id, None, limit, after, order)
    return json_answer(listed([file_body(document) for document in found], more))


async def documents_page(
    ask: Asking, project_id: str | None, states: tuple[str, ...] | None, limit: int, after: str | None, order: Order
) -> tuple[list[Document], bool]:
    """A page of documents by the id of the last one seen. Newest first it goes on from there; oldest first it looks through all."""

    async def read(count: int, place: str | None) -> Page[Document]:
        return await ask.store.read("documents", user_id=ask.user_id, project_id=project_id, limit=count, after=place)

    if order == "asc" or states is not None:
        rows = [row for row in await every(read) if states is None or row.state in states]
        return cut(rows[::-1] if order == "asc" else rows, limit, after)
    place = None if after is None else place_of(await ask.caller.document(ask.store, after))
    rows: list[Document] = []
    while len(rows) <= limit:
        page = await read(min(PAGE, limit + 1 - len(rows)), place)
        rows += page.items
        place = page.next
        if place is None:
            break
    return rows[:limit], len(rows) > limit


async def get_file(ask: Reading, file_id: str) -> Response:
    """One file: `processed` once it is found by questions, `error` with the reason when it was refused."""
    return json_answer(file_body(await ask.caller.document(ask.store, file_id)))


async def get_file_content(ask: Reading, file_id: str) -> Response:
    """The original bytes."""
    return await get_document_file(ask, file_id)


async def delete_file(ask: Writing, file_id: str) -> Response:
    """Delete a file everywhere, its passages and its place in every vector store too."""
    if ask.caller.key.project_id is not None:
        ask.caller.need_nothing_beyond(await ask.caller.document(ask.store, file_id))
    await ask.store.write(DeleteDocument(command_id=ask.command_id, user_id=ask.user_id, document_id=file_id))
    return json_answer({"id": file_id, "object": "file", "deleted": True})
