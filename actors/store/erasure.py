"""Taking a document's passages, or all of it, out of every table that holds any of it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, case, delete, insert, select, update

from actors.store.lexicon import lexicon
from actors.store.prepared import Prepared
from actors.store.tables import chunks, document_projects, document_texts, documents, jobs, projects, vectors
from actors.store.work import Work
from perenne.messages.records import ReasonCode

NOTHING_KEPT: dict[str, Any] = {"checkpoint": None, "details": None, "result": "{}"}  # of what a job held


def reason_of_the_gone(told: str) -> Any:
    """Of a job whose file is gone: why it ended says no more of what was in it than this."""
    return case((jobs.c.reason.is_(None), None), else_=told)


_CHUNK_IDS = Prepared(select(chunks.c.id).where(chunks.c.document_id == bindparam("id_")), "id_")
_COUNT = select(documents.c.chunks).where(documents.c.id == bindparam("id_"))
_DELETE_VECTORS = delete(vectors).where(vectors.c.chunk_id == bindparam("id_"))
_DELETE_CHUNKS = delete(chunks).where(chunks.c.document_id == bindparam("id_"))
_DELETE_TEXTS = Prepared(delete(document_texts).where(document_texts.c.document_id == bindparam("id_")), "id_")
_DELETE_DOCUMENT = delete(documents).where(documents.c.id == bindparam("id_"))
_PROJECTS = Prepared(select(document_projects.c.project_id).where(document_projects.c.document_id == bindparam("id_")), "id_")
_LINK = Prepared(insert(document_projects), "project_id", "document_id", "created_at")
_UNLINK = delete(document_projects).where(
    document_projects.c.document_id == bindparam("id_"), document_projects.c.project_id == bindparam("project_")
)
_COUNT_IN = Prepared(
    update(projects)
    .where(projects.c.id == bindparam("id_"))
    .values(documents=projects.c.documents + bindparam("documents_"), chunks=projects.c.chunks + bindparam("chunks_")),
    "id_",
    "documents_",
    "chunks_",
)
_EMPTY = Prepared(
    update(documents).where(documents.c.id == bindparam("id_")).values(chunks=0, characters=0, pages=None, language=None), "id_"
)
_CANCEL_JOBS = (
    update(jobs)
    .where(jobs.c.document_id == bindparam("id_"), jobs.c.state.in_(("queued", "running")))
    .values(
        state="cancelled",
        reason=bindparam("reason_"),
        code=bindparam("code_"),
        details=None,
        lease_token=None,
        lease_until=None,
        worker=None,
    )
)
_LEAVE_LINES = update(jobs).where(jobs.c.open_document_id == bindparam("id_")).values(open_document_id=None)
_FORGET_FILE = (
    update(jobs)
    .where(jobs.c.document_id == bindparam("id_"))
    .values(filename=None, reason=reason_of_the_gone("the document was deleted"), **NOTHING_KEPT)
)
_FORGET_CHECKPOINTS = Prepared(
    update(jobs).where(jobs.c.document_id == bindparam("id_"), jobs.c.checkpoint.is_not(None)).values(checkpoint=None), "id_"
)


def projects_of(work: Work, document_id: str) -> tuple[str, ...]:
    return tuple(sorted(row.project_id for row in _PROJECTS.all(work.conn, document_id)))


def count_in(work: Work, project_ids: Sequence[str], documents: int, chunks: int) -> None:
    """Add to the counters of projects."""
    if project_ids and (documents or chunks):
        _COUNT_IN.many(work.conn, [(project_id, documents, chunks) for project_id in project_ids])


def link(work: Work, document_id: str, project_id: str, chunk_count: int, created_at: float) -> None:
    """`created_at` is the document's."""
    _LINK.run(work.conn, project_id, document_id, created_at)
    count_in(work, (project_id,), 1, chunk_count)


def unlink(work: Work, document_id: str, project_id: str, chunk_count: int) -> None:
    work.conn.execute(_UNLINK, {"id_": document_id, "project_": project_id})
    count_in(work, (project_id,), -1, -chunk_count)


def cancel_jobs(work: Work, document_id: str, reason: str, code: ReasonCode) -> None:
    """End the open jobs of a document; whoever holds one loses its lease. A job of lines that is amid this one goes on after it."""
    work.conn.execute(_CANCEL_JOBS, {"id_": document_id, "reason_": reason, "code_": code})
    work.conn.execute(_LEAVE_LINES, {"id_": document_id})


def erase_passages(work: Work, document_id: str, project_ids: Sequence[str]) -> None:
    """Drop text, chunks, terms and vectors of a document that stays, and where any job of it was: it would go on behind what is
    gone. The caller says so in the feed."""
    ids: list[dict[str, Any]] = [{"id_": row.id} for row in _CHUNK_IDS.all(work.conn, document_id)]
    if ids:
        lexicon(work.conn).forget(work.conn, [each["id_"] for each in ids])
        work.conn.execute(_DELETE_VECTORS, ids)
        work.conn.execute(_DELETE_CHUNKS, {"id_": document_id})
        count_in(work, project_ids, 0, -len(ids))
    _DELETE_TEXTS.run(work.conn, document_id)
    _EMPTY.run(work.conn, document_id)
    _FORGET_CHECKPOINTS.run(work.conn, document_id)


def withdraw_passages(work: Work, document_id: str) -> None:
    """`erase_passages`, and say so in the feed."""
    project_ids = projects_of(work, document_id)
    erase_passages(work, document_id, project_ids)
    work.searched(project_ids, work.change("passages", document_id, "set"))


def erase_documents(work: Work, document_ids: Sequence[str]) -> None:
    """Delete documents with all that is theirs, and say so in the feed."""
    for document_id in document_ids:
        project_ids = projects_of(work, document_id)
        cancel_jobs(work, document_id, "the document was deleted", "deleted")
        erase_passages(work, document_id, project_ids)
        for project_id in project_ids:
            unlink(work, document_id, project_id, 0)
        work.conn.execute(_DELETE_DOCUMENT, {"id_": document_id})
        work.conn.execute(_FORGET_FILE, {"id_": document_id})
        seq = work.change("passages", document_id, "delete")
        work.searched(project_ids, seq)
        work.change("document", document_id, "delete")
