"""What one command adds to documents, gathered over all of them and written at once: a statement for each table, not for each document."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from actors.store.documents import IN_PROJECT, oldest
from actors.store.lexicon import TermsOf, lexicon
from actors.store.prepared import Prepared
from actors.store.tables import chunks, document_projects, document_texts, documents, projects, vectors
from actors.store.work import Work

IDS_AT_ONCE = (1, 8, 64)  # how many documents one statement looks for

_INSERT_DOCUMENT = Prepared(
    insert(documents),
    "id", "user_id", "title", "external_id", "size_bytes", "language", "pages", "chunks", "characters", "state", "created_at",
    "updated_at",
)  # fmt: skip
_LINK = Prepared(insert(document_projects), "project_id", "document_id", "created_at")
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
_COUNT_IN = Prepared(
    update(projects)
    .where(projects.c.id == bindparam("id_"))
    .values(
        documents=projects.c.documents + bindparam("documents_"),
        chunks=projects.c.chunks + bindparam("chunks_"),
        vector_seq=bindparam("seq_"),
    ),
    "id_", "documents_", "chunks_", "seq_",
)  # fmt: skip


@dataclass(slots=True)
class _Counts:
    documents: int = 0
    chunks: int = 0
    seq: int = 0


@dataclass(slots=True)
class Additions:
    """Rows on their way. What is in `touched` and `named` (ids, external ids) the database does not know yet as it will be: `write`
    before it is asked for one of them."""

    documents: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    links: list[tuple[str, str, float]] = field(default_factory=list[tuple[str, str, float]])
    updates: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    texts: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    chunks: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    terms: list[TermsOf] = field(default_factory=list[TermsOf])
    vectors: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    counts: dict[str, _Counts] = field(default_factory=dict[str, _Counts])
    touched: set[str] = field(default_factory=set[str])
    named: set[str] = field(default_factory=set[str])

    def count(self, project_ids: Sequence[str], documents: int, chunks: int, seq: int) -> None:
        """Of each project: so many more, and a search of it must have seen `seq`."""
        for project_id in project_ids:
            counts = self.counts.setdefault(project_id, _Counts())
            counts.documents += documents
            counts.chunks += chunks
            counts.seq = seq

    def write(self, work: Work) -> None:
        """Put all of it into the transaction. What was touched stays so: what was looked up before is of before."""
        conn = work.conn
        _INSERT_DOCUMENT.many(conn, self.documents)
        _LINK.many(conn, self.links)
        _UPDATE.many(conn, self.updates)
        _INSERT_TEXT.many(conn, self.texts)
        _INSERT_CHUNK.many(conn, self.chunks)
        if self.terms:
            lexicon(conn).remember(conn, self.terms)
        _INSERT_VECTOR.many(conn, self.vectors)
        _COUNT_IN.many(conn, [(id, each.documents, each.chunks, each.seq) for id, each in sorted(self.counts.items())])
        for rows in (self.documents, self.links, self.updates, self.texts, self.chunks, self.terms, self.vectors):
            rows.clear()
        self.counts.clear()


@cache
def _by_id(size: int) -> Prepared:
    names = [f"id_{n}" for n in range(size)]
    return Prepared(select(documents).where(documents.c.id.in_([bindparam(name) for name in names])), *names)


@cache
def _by_external(size: int) -> Prepared:
    names = [f"external_{n}" for n in range(size)]
    return Prepared(
        select(documents)
        .select_from(IN_PROJECT)
        .where(
            documents.c.user_id == bindparam("user_"),
            document_projects.c.project_id == bindparam("project_"),
            documents.c.external_id.in_([bindparam(name) for name in names]),
        ),
        "user_",
        "project_",
        *names,
    )


def by_ids(conn: Connection, document_ids: Sequence[str]) -> dict[str, Any]:
    """The documents of these ids."""
    return {row.id: row for ids in _batches(document_ids) for row in _by_id(len(ids)).all(conn, *ids)}


def by_external_ids(conn: Connection, user_id: str, project_id: str, external_ids: Sequence[str]) -> dict[str, Any]:
    """Of each external id the oldest document of the project that has it."""
    found: dict[str, Any] = {}
    for ids in _batches(external_ids):
        for row in _by_external(len(ids)).all(conn, user_id, project_id, *ids):
            found[row.external_id] = min(row, found.get(row.external_id, row), key=oldest)
    return found


def _batches(ids: Sequence[str]) -> list[list[str]]:
    """In lengths that there is a statement for: the last one is filled up with an id that is in it."""
    wanted = list(dict.fromkeys(ids))
    cut = [wanted[i : i + IDS_AT_ONCE[-1]] for i in range(0, len(wanted), IDS_AT_ONCE[-1])]
    return [each + each[:1] * (next(size for size in IDS_AT_ONCE if size >= len(each)) - len(each)) for each in cut]
