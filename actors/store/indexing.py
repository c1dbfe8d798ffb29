"""The command that makes documents findable: text, passages, terms and vectors in one transaction."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, insert, update

from actors.store.documents import TITLE_CHARS_MAX, by_external_id, document_row, insert_document
from actors.store.erasure import cancel_jobs, count_in, erase_passages, link, projects_of
from actors.store.jobs import held, job_row, record_progress, set_checkpoint
from actors.store.lexicon import lexicon
from actors.store.prepared import Prepared
from actors.store.projects import project_row
from actors.store.rows import encode, job_of
from actors.store.tables import chunks, document_texts, documents, vectors
from actors.store.terms import passage_terms
from actors.store.work import Work, read_meta, write_meta
from perenne.errors import InvalidRequest, NotFound
from perenne.messages.commands import IndexedDocument, NewChunk, StoreDocuments
from perenne.messages.records import Job

TEXT_PIECE_CHARS = 32_768  # one row of a document's text

_INSERT_TEXT = Prepared(insert(document_texts), "document_id", "start", "end", "text")
_INSERT_CHUNK = Prepared(
    insert(chunks), "id", "document_id", "language", "ordinal", "start", "end", "page", "heading_path", "text"
)
_INSERT_VECTOR = Prepared(insert(vectors), "space", "chunk_id", "document_id", "seq", "data")
_UPDATE = Prepared(
    update(documents)
    .where(documents.c.id == bindparam("id_"))
    .values(
        title=bindparam("title_"),
        external_id=bindparam("external_"),
        language=bindparam("language_"),
        pages=bindparam("pages_"),
        chunks=bindparam("chunks_"),
        characters=bindparam("characters_"),
        state=bindparam("state_"),
        reason=None,
        code=None,
        details=None,
        updated_at=bindparam("now_"),
    ),
    "id_", "title_", "external_", "language_", "pages_", "chunks_", "characters_", "state_", "now_",
)  # fmt: skip
_LET_GO_OF_FILE = (
    update(documents)
    .where(documents.c.id == bindparam("id_"))
    .values(blob_hash=None, filename=None, media_type=None, size_bytes=bindparam("size_"))
)

Terms = tuple[str, str]  # of a passage's title and of its body


def terms_of(command: StoreDocuments) -> list[list[Terms]]:
    """What full text will keep, a list for each document. Needs no database: it is made before the transaction."""
    return [
        [
            (
                passage_terms(each.title, chunk.language or each.language),
                passage_terms(chunk.text, chunk.language or each.language),
            )
            for chunk in each.chunks
        ]
        for each in command.documents
    ]


def store_documents(work: Work, command: StoreDocuments) -> Job:
    job = held(work, command, command.job_id, command.lease_token)
    if project_row(work.conn, command.project_id, job.user_id) is None:
        raise NotFound("project", command.project_id)
    terms: list[list[Terms]] = work.prepared if work.prepared is not None else terms_of(command)
    open_id: str | None = job.open_document_id
    for each, its_terms in zip(command.documents, terms, strict=True):
        if job.kind == "jsonl" and not each.first and open_id is None:
            continue  # its document was deleted or replaced since the part before
        stored_id = _store(work, command, job, each, its_terms)
        open_id = stored_id if job.kind == "jsonl" and not each.last else None
    record_progress(work, job.id, command.lease_s, command.done, command.total, command.unit)
    set_checkpoint(work, job.id, command.checkpoint, open_id)
    work.change("job", job.id, "update")
    return job_of(job_row(work.conn, job.id), for_holder=True)


def _target(work: Work, command: StoreDocuments, job: Any, each: IndexedDocument) -> Any:
    """The row of the document that this is (a part of); made when there is none."""
    row = document_row(work.conn, each.document_id)
    if row is None and each.external_id is not None:
        row = by_external_id(work.conn, job.user_id, command.project_id, each.external_id)
    if row is not None:
        if row.user_id != job.user_id:
            raise NotFound("document", each.document_id)
        if each.first and job.kind == "jsonl":
            _take_over(work, command.project_id, row, each)
        return row
    if job.kind == "document" or not each.first:
        raise NotFound("document", each.document_id)
    insert_document(
        work,
        command.project_id,
        {
            "id": each.document_id,
            "user_id": job.user_id,
            "title": each.title.strip()[:TITLE_CHARS_MAX] or each.external_id or each.document_id,
            "external_id": each.external_id,
            "size_bytes": len(each.text.encode()),
            "state": "indexing",
        },
    )
    return document_row(work.conn, each.document_id)


def _row_bytes(work: Work, space: str, each: IndexedDocument) -> int:
    """The length of one vector, the same for all of a space. InvalidRequest for any other."""
    if not each.vectors:
        return 0
    size, rest = divmod(len(each.vectors), max(1, len(each.chunks)))
    if rest or size == 0 or size % 4 or not each.chunks:
        raise InvalidRequest(f"{len(each.vectors)} bytes of vectors do not fit {len(each.chunks)} chunks", "vectors")
    known = read_meta(work.conn, f"dimension:{space}")
    if known is None:
        write_meta(work.conn, f"dimension:{space}", str(size // 4))
    elif int(known) != size // 4:
        raise InvalidRequest(f"the space {space!r} has {known} dimensions, the vectors {size // 4}", "vectors")
    return size


def _store(work: Work, command: StoreDocuments, job: Any, each: IndexedDocument, terms: Sequence[Terms]) -> str:
    size = _row_bytes(work, command.space, each)
    row = _target(work, command, job, each)
    project_ids = projects_of(work, row.id)
    if each.first:
        erase_passages(work, row.id, project_ids)
    chunk_count, characters = (0, 0) if each.first else (row.chunks, row.characters)
    _check_spans(each.chunks, characters + len(each.text))
    if not each.first:
        _check_follows(each, characters)
    _insert_text(work, row.id, characters, each.text)
    seq = work.change("passages", row.id, "set" if each.first else "add")
    if each.chunks:
        _insert_chunks(work, command.space, row.id, each, terms, size, seq)
        count_in(work, project_ids, 0, len(each.chunks))
    work.searched(project_ids, seq)
    title = each.title.strip()[:TITLE_CHARS_MAX] or row.title
    pages = max((p for p in (row.pages if not each.first else None, each.pages) if p is not None), default=None)
    _UPDATE.run(
        work.conn,
        row.id,
        title,
        each.external_id if each.external_id is not None else row.external_id,
        each.language or (None if each.first else row.language),
        pages,
        chunk_count + len(each.chunks),
        characters + len(each.text),
        "indexed" if each.last else "indexing",
        work.now,
    )
    work.change("document", row.id, "update")
    return row.id


def _check_spans(new: Sequence[NewChunk], total: int) -> None:
    for chunk in new:
        if not 0 <= chunk.start <= chunk.end <= total:
            raise InvalidRequest(f"chunk {chunk.ordinal} spans {chunk.start}..{chunk.end} of a text of {total}", "chunks")


def _take_over(work: Work, project_id: str, row: Any, each: IndexedDocument) -> None:
    """A line takes the place of what its document held: of a file and of whoever works on it. It is in the line's project again."""
    cancel_jobs(work, row.id, "the document was replaced", "replaced")
    if project_id not in projects_of(work, row.id):
        link(work, row.id, project_id, row.chunks, row.created_at)
    if row.blob_hash is not None:
        work.conn.execute(_LET_GO_OF_FILE, {"id_": row.id, "size_": len(each.text.encode())})


def _check_follows(each: IndexedDocument, at: int) -> None:
    """The part's passages stand in its own text at `at`: so it is the part after what is stored, and of the same cutting."""
    for chunk in each.chunks:
        if chunk.start < at or each.text[chunk.start - at : chunk.end - at] != chunk.text:
            raise InvalidRequest(
                f"a part of document {each.document_id!r} does not follow the {at} characters that are stored; add it again",
                "chunks",
            )


def _insert_text(work: Work, document_id: str, at: int, added: str) -> None:
    pieces = [added[i : i + TEXT_PIECE_CHARS] for i in range(0, len(added), TEXT_PIECE_CHARS)]
    starts = range(at, at + len(added), TEXT_PIECE_CHARS)
    rows = [(document_id, start, start + len(piece), piece) for start, piece in zip(starts, pieces, strict=True)]
    _INSERT_TEXT.many(work.conn, rows)


def _insert_chunks(
    work: Work, space: str, document_id: str, each: IndexedDocument, terms: Sequence[Terms], size: int, seq: int
) -> None:
    ids = work.chunk_ids(len(each.chunks))
    _INSERT_CHUNK.many(
        work.conn,
        [
            (
                chunk_id,
                document_id,
                chunk.language or each.language,
                chunk.ordinal,
                chunk.start,
                chunk.end,
                chunk.page,
                encode(chunk.heading_path) if chunk.heading_path else None,
                chunk.text,
            )
            for chunk_id, chunk in zip(ids, each.chunks, strict=True)
        ],
    )
    lexicon(work.conn).remember(work.conn, [(id, title, body) for id, (title, body) in zip(ids, terms, strict=True)])
    if size:
        data = memoryview(each.vectors)
        _INSERT_VECTOR.many(
            work.conn,
            [(space, chunk_id, document_id, seq, bytes(data[i * size : (i + 1) * size])) for i, chunk_id in enumerate(ids)],
        )
