"""Routes of documents, except sending them (see `uploads`)."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Query
from starlette.responses import Response, StreamingResponse

from perenne.errors import InvalidRequest, NotFound
from perenne.messages.commands import DeleteDocument, LinkDocument, UnlinkDocument
from perenne.messages.records import DocumentState, DocumentText
from serve.answers import json_answer
from serve.asking import After, Limit, ProjectQuery, Reading, Writing
from serve.blobs import blob_pieces, blob_size
from serve.bodies import LinkBody

TEXT_CHARS_MAX = 1_000_000  # one slice of a document's text
_SHOWN_AS_SENT = frozenset(
    {"application/pdf", "text/plain", "text/markdown", "application/json"}
)  # never what a browser would run


async def list_documents(
    ask: Reading, project: ProjectQuery = None, state: DocumentState | None = None, limit: Limit = 100, after: After = None
) -> Response:
    """Documents, of one project or all."""
    project_id = await ask.caller.project_id(ask.store, project)
    return json_answer(
        await ask.store.read("documents", user_id=ask.user_id, project_id=project_id, state=state, limit=limit, after=after)
    )


async def list_project_documents(
    ask: Reading, project: str, state: DocumentState | None = None, limit: Limit = 100, after: After = None
) -> Response:
    """Documents of one project."""
    return await list_documents(ask, project, state, limit, after)


async def get_document(ask: Reading, document_id: str) -> Response:
    """One document: its state, its reason when it was refused, its size."""
    return json_answer(await ask.caller.document(ask.store, document_id))


async def delete_document(ask: Writing, document_id: str) -> Response:
    """Delete a document everywhere. A key of one project cannot where it is in others too: unlink it."""
    if ask.caller.key.project_id is not None:
        ask.caller.need_nothing_beyond(await ask.caller.document(ask.store, document_id))
    command = DeleteDocument(command_id=ask.command_id, user_id=ask.user_id, document_id=document_id)
    return json_answer(await ask.store.write(command))


async def get_document_text(
    ask: Reading,
    document_id: str,
    start: Annotated[int, Query(ge=0, le=1 << 40)] = 0,
    end: Annotated[int | None, Query(ge=0, le=1 << 40)] = None,
) -> Response:
    """A slice of the extracted text, in characters; one slice is a million characters at most."""
    if end is not None and end < start:
        raise InvalidRequest(f"end: expected at least start ({start}), got {end}", "end")
    if ask.caller.key.project_id is not None:
        await ask.caller.document(ask.store, document_id)
    upto = start + TEXT_CHARS_MAX if end is None else min(end, start + TEXT_CHARS_MAX)
    text: DocumentText = await ask.store.read(
        "document_text", user_id=ask.user_id, document_id=document_id, start=start, end=upto
    )
    return json_answer(text)


async def get_document_file(ask: Reading, document_id: str) -> Response:
    """The original bytes, as a download."""
    document = await ask.caller.document(ask.store, document_id)
    size = None if document.blob_hash is None else await blob_size(ask.edge, document.blob_hash)
    if document.blob_hash is None or size is None:
        raise NotFound("file of document", document_id)
    kind = document.media_type if document.media_type in _SHOWN_AS_SENT else "application/octet-stream"
    name = quote(document.filename or document.title or document.id, safe="", errors="replace")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Content-Length": str(size)}
    return StreamingResponse(blob_pieces(ask.edge, document.blob_hash, size), headers=headers, media_type=kind)


async def link_document(ask: Writing, document_id: str, body: LinkBody) -> Response:
    """Put a document into one more project."""
    ask.caller.need_all_projects()
    project = await ask.caller.project(ask.store, body.project)
    command = LinkDocument(command_id=ask.command_id, user_id=ask.user_id, document_id=document_id, project_id=project.id)
    return json_answer(await ask.store.write(command))


async def unlink_document(ask: Writing, document_id: str, project: str) -> Response:
    """Take a document out of a project; 409 when it is in no other."""
    found = await ask.caller.project(ask.store, project)
    if ask.caller.key.project_id is not None:
        await ask.caller.document(ask.store, document_id)
    command = UnlinkDocument(command_id=ask.command_id, user_id=ask.user_id, document_id=document_id, project_id=found.id)
    return json_answer(await ask.store.write(command))
