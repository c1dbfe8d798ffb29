"""Commands about documents: added, linked, unlinked, deleted."""

from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from actors.store.erasure import cancel_jobs, erase_documents, link, projects_of, unlink
from actors.store.jobs import job_row, queue_job
from actors.store.prepared import Prepared
from actors.store.projects import project_row
from actors.store.rows import document_of, job_of
from actors.store.tables import document_projects, documents
from actors.store.work import Work, owned, required
from perenne.errors import Conflict, NotFound
from perenne.messages.commands import (
    AddDocument,
    AddJsonLines,
    Deleted,
    DeleteDocument,
    DocumentAdded,
    LinkDocument,
    UnlinkDocument,
)
from perenne.messages.records import Document, Job

TITLE_CHARS_MAX = 1_000

_DOCUMENT = Prepared(select(documents).where(documents.c.id == bindparam("id_")), "id_")
IN_PROJECT = documents.join(document_projects, document_projects.c.document_id == documents.c.id)
# Not sorted by the database: SQLite would read all of the user's documents in the order of their times, not the few with this name.
_BY_EXTERNAL = Prepared(
    select(documents)
    .select_from(IN_PROJECT)
    .where(
        documents.c.user_id == bindparam("user_"),
        documents.c.external_id == bindparam("external_"),
        document_projects.c.project_id == bindparam("project_"),
    ),
    "user_",
    "external_",
    "project_",
)
_BY_BLOB = Prepared(
    select(documents)
    .select_from(IN_PROJECT)
    .where(
        documents.c.user_id == bindparam("user_"),
        documents.c.blob_hash == bindparam("blob_"),
        document_projects.c.project_id == bindparam("project_"),
    ),
    "user_",
    "blob_",
    "project_",
)
_NEW = (
    "id", "user_id", "title", "external_id", "filename", "media_type", "blob_hash", "size_bytes", "state", "reason", "created_at",
    "updated_at",
)  # fmt: skip
_INSERT = Prepared(insert(documents), *_NEW)
_REQUEUE = (
    update(documents)
    .where(documents.c.id == bindparam("id_"))
    .values(
        title=bindparam("title_"),
        external_id=bindparam("external_"),
        filename=bindparam("filename_"),
        media_type=bindparam("media_type_"),
        blob_hash=bindparam("blob_"),
        size_bytes=bindparam("size_"),
        state="queued",
        reason=None,
        code=None,
        details=None,
        updated_at=bindparam("at_"),
    )
)
_NAME = update(documents).where(documents.c.id == bindparam("id_")).values(external_id=bindparam("external_"))


def document_row(conn: Connection, document_id: str) -> Any:
    return _DOCUMENT.first(conn, document_id)


def by_external_id(conn: Connection, user_id: str, project_id: str, external_id: str) -> Any:
    """The oldest document of this name, None when there is none."""
    return min(_BY_EXTERNAL.all(conn, user_id, external_id, project_id), key=oldest, default=None)


def by_blob(conn: Connection, user_id: str, project_id: str, blob_hash: str) -> list[Any]:
    """Every document of these bytes, the oldest first."""
    return sorted(_BY_BLOB.all(conn, user_id, blob_hash, project_id), key=oldest)


def oldest(row: Any) -> tuple[float, str]:
    return row.created_at, row.id


def document(work: Work, document_id: str) -> Document:
    return document_of(document_row(work.conn, document_id), projects_of(work, document_id))


def _own_project(work: Work, project_id: str, user_id: str) -> None:
    if project_row(work.conn, project_id, user_id) is None:
        raise NotFound("project", project_id)


def insert_document(work: Work, project_id: str, fields: dict[str, Any]) -> None:
    """A document that did not exist, in its first project."""
    row = {
        "filename": None,
        "media_type": None,
        "blob_hash": None,
        "size_bytes": 0,
        "reason": None,
        "created_at": work.now,
        "updated_at": work.now,
    }
    row |= fields
    _INSERT.run(work.conn, *(row[name] for name in _NEW))
    link(work, fields["id"], project_id, 0, row["created_at"])
    work.change("document", fields["id"], "insert")


def add_document(work: Work, command: AddDocument) -> DocumentAdded:
    _own_project(work, command.project_id, command.user_id)
    held = _held(work, command)
    if held is None:
        return _add_new(work, command)
    same = held.blob_hash == command.blob_hash
    if same and held.state not in ("failed", "refused"):
        if command.external_id is not None and held.external_id is None:
            work.conn.execute(_NAME, {"id_": held.id, "external_": command.external_id})
            work.change("document", held.id, "update")
        return DocumentAdded(document=document(work, held.id), job=None, existing=True)
    cancel_jobs(work, held.id, "the document was replaced", "replaced")
    work.conn.execute(
        _REQUEUE,
        {
            "id_": held.id,
            "title_": required(command.title, "title", TITLE_CHARS_MAX),
            "external_": command.external_id if command.external_id is not None else held.external_id,
            "filename_": command.filename,
            "media_type_": command.media_type,
            "blob_": command.blob_hash,
            "size_": command.size_bytes,
            "at_": work.now,
        },
    )
    work.change("document", held.id, "update")
    return DocumentAdded(document=document(work, held.id), job=_queue(work, command, held.id), existing=same)


def _held(work: Work, command: AddDocument) -> Any:
    """The document of this project that the file belongs to: by its external id, else the same bytes under no other id."""
    if command.external_id is not None:
        row = by_external_id(work.conn, command.user_id, command.project_id, command.external_id)
        if row is not None:
            return row
    for row in by_blob(work.conn, command.user_id, command.project_id, command.blob_hash):
        if command.external_id is None or row.external_id is None:
            return row
    return None


def _add_new(work: Work, command: AddDocument) -> DocumentAdded:
    if document_row(work.conn, command.document_id) is not None:
        raise Conflict(f"there is a document {command.document_id!r} already")
    insert_document(
        work,
        command.project_id,
        {
            "id": command.document_id,
            "user_id": command.user_id,
            "title": required(command.title, "title", TITLE_CHARS_MAX),
            "external_id": command.external_id,
            "filename": command.filename,
            "media_type": command.media_type,
            "blob_hash": command.blob_hash,
            "size_bytes": command.size_bytes,
            "state": "queued",
        },
    )
    return DocumentAdded(document=document(work, command.document_id), job=_queue(work, command, command.document_id))


def _queue(work: Work, command: AddDocument, document_id: str) -> Job:
    return queue_job(
        work,
        {
            "id": command.job_id,
            "user_id": command.user_id,
            "kind": "document",
            "project_id": command.project_id,
            "document_id": document_id,
            "blob_hash": command.blob_hash,
            "filename": command.filename,
            "media_type": command.media_type,
            "unit": "chunks",
        },
    )


def add_json_lines(work: Work, command: AddJsonLines) -> Job:
    _own_project(work, command.project_id, command.user_id)
    if job_row(work.conn, command.job_id) is not None:
        raise Conflict(f"there is a job {command.job_id!r} already")
    queue_job(
        work,
        {
            "id": command.job_id,
            "user_id": command.user_id,
            "kind": "jsonl",
            "project_id": command.project_id,
            "document_id": None,
            "blob_hash": command.blob_hash,
            "filename": command.filename,
            "media_type": "application/x-ndjson",
            "unit": "lines",
        },
    )
    return job_of(job_row(work.conn, command.job_id))


def _relinked(work: Work, document_id: str, project_id: str, chunk_count: int) -> Document:
    """After a document came into a project or left it: shards filter by them, and the next search of it must see that."""
    seq = work.change("passages", document_id, "projects")
    if chunk_count:
        work.searched((project_id,), seq)
    work.change("document", document_id, "update")
    return document(work, document_id)


def link_document(work: Work, command: LinkDocument) -> Document:
    row = owned(document_row(work.conn, command.document_id), command, "document", command.document_id)
    _own_project(work, command.project_id, row.user_id)
    if command.project_id in projects_of(work, row.id):
        return document(work, row.id)
    link(work, row.id, command.project_id, row.chunks, row.created_at)
    return _relinked(work, row.id, command.project_id, row.chunks)


def unlink_document(work: Work, command: UnlinkDocument) -> Document:
    row = owned(document_row(work.conn, command.document_id), command, "document", command.document_id)
    _own_project(work, command.project_id, row.user_id)
    held = projects_of(work, row.id)
    if command.project_id not in held:
        return document(work, row.id)
    if len(held) == 1:
        raise Conflict("a document is in one project at least; delete it instead")
    unlink(work, row.id, command.project_id, row.chunks)
    return _relinked(work, row.id, command.project_id, row.chunks)


def delete_document(work: Work, command: DeleteDocument) -> Deleted:
    owned(document_row(work.conn, command.document_id), command, "document", command.document_id)
    erase_documents(work, (command.document_id,))
    return Deleted(id=command.document_id)
