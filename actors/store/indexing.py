"""The command that makes documents findable: text, passages, terms and vectors in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, update

from actors.store.additions import Additions, by_external_ids, by_ids
from actors.store.documents import TITLE_CHARS_MAX, by_external_id, document_row
from actors.store.erasure import cancel_jobs, erase_passages, link, projects_of
from actors.store.jobs import held, job_row, record_progress, set_checkpoint
from actors.store.projects import project_row
from actors.store.rows import encode, job_of
from actors.store.tables import documents
from actors.store.terms import passage_terms
from actors.store.work import Work, read_meta, write_meta
from perenne.errors import InvalidRequest, NotFound
from perenne.messages.commands import IndexedDocument, NewChunk, StoreDocuments
from perenne.messages.records import Job

TEXT_PIECE_CHARS = 32_768  # one row of a document's text

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


@dataclass(slots=True)
class _Known:
    """What is known while one command is done: what it adds, and what was there before it."""

    additions: Additions = field(default_factory=Additions)
    by_id: dict[str, Any] = field(default_factory=dict[str, Any])
    by_external: dict[str, Any] = field(default_factory=dict[str, Any])
    dimension: int | None = None  # of a vector in the command's space


@dataclass(frozen=True, slots=True)
class _Target:
    """The document that a part goes into, as it is before."""

    id: str
    title: str
    external_id: str | None
    language: str | None
    pages: int | None
    chunks: int
    characters: int
    project_ids: tuple[str, ...]
    new: bool


def store_documents(work: Work, command: StoreDocuments) -> Job:
    job = held(work, command, command.job_id, command.lease_token)
    if project_row(work.conn, command.project_id, job.user_id) is None:
        raise NotFound("project", command.project_id)
    terms: list[list[Terms]] = work.prepared if work.prepared is not None else terms_of(command)
    known = _Known(by_id=by_ids(work.conn, [each.document_id for each in command.documents]))
    external_ids = [each.external_id for each in command.documents if each.external_id is not None]
    known.by_external = by_external_ids(work.conn, job.user_id, command.project_id, external_ids)
    open_id: str | None = job.open_document_id
    for each, its_terms in zip(command.documents, terms, strict=True):
        if job.kind == "jsonl" and not each.first and open_id is None:
            continue  # its document was deleted or replaced since the part before
        stored_id = _store(work, command, job, each, its_terms, known)
        open_id = stored_id if job.kind == "jsonl" and not each.last else None
    known.additions.write(work)
    record_progress(work, job.id, command.lease_s, command.done, command.total, command.unit)
    set_checkpoint(work, job.id, command.checkpoint, open_id)
    work.change("job", job.id, "update")
    return job_of(job_row(work.conn, job.id), for_holder=True)


def _row(work: Work, command: StoreDocuments, job: Any, each: IndexedDocument, known: _Known) -> Any:
    """The document's row as the database has it, None when there is none. What this command touched already is written first."""
    row = known.by_id.get(each.document_id)
    if row is None and each.external_id is not None:
        row = known.by_external.get(each.external_id)
    additions = known.additions
    touched = each.document_id in additions.touched or (row is not None and row.id in additions.touched)
    if not touched and each.external_id not in additions.named:
        return row
    additions.write(work)
    row = document_row(work.conn, each.document_id)
    if row is None and each.external_id is not None:
        row = by_external_id(work.conn, job.user_id, command.project_id, each.external_id)
    return row


def _target(work: Work, command: StoreDocuments, job: Any, each: IndexedDocument, known: _Known) -> _Target:
    """The document that this is (a part of); made when there is none. A first part finds it without passages."""
    row = _row(work, command, job, each, known)
    if row is None:
        if job.kind == "document" or not each.first:
            raise NotFound("document", each.document_id)
        title = each.title.strip()[:TITLE_CHARS_MAX] or each.external_id or each.document_id
        work.change("document", each.document_id, "insert")
        return _Target(each.document_id, title, each.external_id, None, None, 0, 0, (command.project_id,), True)
    if row.user_id != job.user_id:
        raise NotFound("document", each.document_id)
    if each.first and job.kind == "jsonl":
        _take_over(work, command.project_id, row, each)
    project_ids = projects_of(work, row.id)
    if not each.first:
        place = (row.language, row.pages, row.chunks, row.characters)
        return _Target(row.id, row.title, row.external_id, *place, project_ids, False)
    erase_passages(work, row.id, project_ids)
    return _Target(row.id, row.title, row.external_id, None, None, 0, 0, project_ids, False)


def _row_bytes(work: Work, space: str, each: IndexedDocument, known: _Known) -> int:
    """The length of one vector, the same for all of a space. InvalidRequest for any other."""
    if not each.vectors:
        return 0
    size, rest = divmod(len(each.vectors), max(1, len(each.chunks)))
    if rest or size == 0 or size % 4 or not each.chunks:
        raise InvalidRequest(f"{len(each.vectors)} bytes of vectors do not fit {len(each.chunks)} chunks", "vectors")
    if known.dimension is None:
        held = read_meta(work.conn, f"dimension:{space}")
        if held is None:
            write_meta(work.conn, f"dimension:{space}", str(size // 4))
        known.dimension = size // 4 if held is None else int(held)
    if known.dimension != size // 4:
        raise InvalidRequest(f"the space {space!r} has {known.dimension} dimensions, the vectors {size // 4}", "vectors")
    return size


def _store(work: Work, command: StoreDocuments, job: Any, each: IndexedDocument, terms: Sequence[Terms], known: _Known) -> str:
    size = _row_bytes(work, command.space, each, known)
    target = _target(work, command, job, each, known)
    characters = target.characters + len(each.text)
    _check_spans(each.chunks, characters)
    if not each.first:
        _check_follows(each, target.characters)
    additions = known.additions
    _add_text(additions, target.id, target.characters, each.text)
    seq = work.change("passages", target.id, "set" if each.first else "add")
    _add_chunks(work, additions, command.space, target.id, each, terms, size, seq)
    additions.count(target.project_ids, int(target.new), len(each.chunks), seq)
    external_id = each.external_id if each.external_id is not None else target.external_id
    made: tuple[Any, ...] = (
        each.language or target.language,
        max((pages for pages in (target.pages, each.pages) if pages is not None), default=None),
        target.chunks + len(each.chunks),
        characters,
        "indexed" if each.last else "indexing",
    )
    if target.new:
        size_bytes = len(each.text.encode())
        additions.documents.append((target.id, job.user_id, target.title, external_id, size_bytes, *made, work.now, work.now))
        additions.links.append((command.project_id, target.id, work.now))
    else:
        title = each.title.strip()[:TITLE_CHARS_MAX] or target.title
        additions.updates.append((target.id, title, external_id, *made, work.now))
    additions.touched.add(target.id)
    if external_id is not None:
        additions.named.add(external_id)
    work.change("document", target.id, "update")
    return target.id


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


def _add_text(additions: Additions, document_id: str, at: int, added: str) -> None:
    for start in range(0, len(added), TEXT_PIECE_CHARS):
        piece = added[start : start + TEXT_PIECE_CHARS]
        additions.texts.append((document_id, at + start, at + start + len(piece), piece))


def _add_chunks(
    work: Work,
    additions: Additions,
    space: str,
    document_id: str,
    each: IndexedDocument,
    terms: Sequence[Terms],
    size: int,
    seq: int,
) -> None:
    data = memoryview(each.vectors)
    ids = work.chunk_ids(len(each.chunks))
    for i, (id, chunk, (title, body)) in enumerate(zip(ids, each.chunks, terms, strict=True)):
        headings = encode(chunk.heading_path) if chunk.heading_path else None
        language = chunk.language or each.language
        additions.chunks.append(
            (id, document_id, language, chunk.ordinal, chunk.start, chunk.end, chunk.page, headings, chunk.text)
        )
        additions.terms.append((id, title, body))
        if size:
            additions.vectors.append((space, id, document_id, seq, bytes(data[i * size : (i + 1) * size])))
