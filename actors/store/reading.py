"""Questions about people, projects, documents and jobs. Every one is of a user; another's row is as one that isn't there."""

from functools import cache
from typing import Any, Literal

from sqlalchemy import Connection, Select, and_, bindparam, exists, func, literal_column, or_, select, tuple_, union

from actors.store.pages import bounded, cursor, place
from actors.store.prepared import Prepared
from actors.store.rows import chunk_of, document_of, job_of, key_of, project_of, user_of
from actors.store.tables import chunks, document_projects, document_texts, documents, jobs, keys, projects, users
from perenne.errors import NotFound
from perenne.messages.records import Chunk, Document, DocumentText, Job, Key, Page, Project, ProjectFigures, User
from perenne.messages.search import Passages

TEXT_CHARS_MAX = 1_000_000  # one slice of a document
IDS_AT_ONCE = 500  # in one IN (…)
NEIGHBOURS_MAX = 50
OPEN = ("queued", "running")
FIRST_KEY_S = 60.0  # a key that is so much younger than its user was made with it

_USERS = select(users).order_by(users.c.created_at, users.c.id)
_KEY_BY_HASH = Prepared(select(keys).where(keys.c.key_hash == bindparam("hash_")), "hash_")
_KEYS = select(keys).where(keys.c.user_id == bindparam("user_")).order_by(keys.c.created_at, keys.c.id)
_RECENT_KEYS = (
    select(keys)
    .join(users, users.c.id == keys.c.user_id)
    .where(
        or_(
            and_(keys.c.created_at > bindparam("since_"), keys.c.created_at > users.c.created_at + FIRST_KEY_S),
            keys.c.revoked_at > bindparam("since_"),
        )
    )
    .order_by(keys.c.created_at.desc(), keys.c.id)
    .limit(bindparam("limit_"))
)
_OF_USER = select(projects).where(projects.c.user_id == bindparam("user_"))
_PROJECT = Prepared(_OF_USER.where(projects.c.id == bindparam("id_")), "user_", "id_")
_PROJECT_BY_NAME = Prepared(_OF_USER.where(projects.c.name == bindparam("name_")), "user_", "name_")
_IN_ORDER = _OF_USER.order_by(projects.c.created_at, projects.c.id).limit(bindparam("limit_"))
_PROJECTS = Prepared(_IN_ORDER, "user_", "limit_")
_PROJECTS_AFTER = Prepared(
    _IN_ORDER.where(tuple_(projects.c.created_at, projects.c.id) > tuple_(bindparam("at_"), bindparam("id_"))),
    *("user_", "limit_", "at_", "id_"),
)
_FIGURES = (
    select(
        document_projects.c.project_id,
        documents.c.state,
        func.count().label("count_"),
        func.sum(documents.c.size_bytes).label("size_"),
        func.max(documents.c.updated_at).label("at_"),
    )
    .join(documents, documents.c.id == document_projects.c.document_id)
    .where(documents.c.user_id == bindparam("user_"), document_projects.c.project_id.in_(bindparam("ids_", expanding=True)))
    .group_by(document_projects.c.project_id, documents.c.state)
)
_DOCUMENT = Prepared(
    select(documents).where(documents.c.id == bindparam("id_"), documents.c.user_id == bindparam("user_")), "id_", "user_"
)
_PIECES = (
    select(document_texts)
    .where(
        document_texts.c.document_id == bindparam("id_"),
        document_texts.c.end > bindparam("start_"),
        document_texts.c.start < bindparam("end_"),
    )
    .order_by(document_texts.c.start)
)
_PAGE_AT = (
    select(chunks.c.page)
    .where(chunks.c.document_id == bindparam("id_"), chunks.c.start <= bindparam("start_"), chunks.c.page.is_not(None))
    .order_by(chunks.c.start.desc(), chunks.c.ordinal.desc())
    .limit(1)
)
_JOB = select(jobs).where(jobs.c.id == bindparam("id_"), jobs.c.user_id == bindparam("user_"))
_OPEN_JOBS = select(jobs).where(jobs.c.state.in_(OPEN)).order_by(jobs.c.created_at, jobs.c.id).limit(1_000)
_PASSAGE = select(chunks, documents.c.title, documents.c.external_id).join(documents, documents.c.id == chunks.c.document_id)
# COALESCE keeps SQLite from walking through all of the user's documents for a few passages (5.7 ms of 4,000 documents, not 0.3).
_CHUNKS = _PASSAGE.where(
    chunks.c.id.in_(bindparam("ids_", expanding=True)), func.coalesce(documents.c.user_id, "") == bindparam("user_")
)
# Not `id IN (all of the project's)`, which SQLite would gather for each question.
_MEMBERS = exists().where(
    document_projects.c.project_id == bindparam("project_"), document_projects.c.document_id == documents.c.id
)
_IDS_BY_EXTERNAL = select(documents.c.id).where(
    documents.c.user_id == bindparam("user_"), documents.c.external_id.in_(bindparam("ids_", expanding=True))
)
_AROUND = _PASSAGE.where(
    chunks.c.document_id == bindparam("document_"),
    chunks.c.ordinal >= bindparam("from_"),
    chunks.c.ordinal <= bindparam("to_"),
).order_by(chunks.c.ordinal)


_Asked = Literal["any", "indexed", "other"]  # in which state: nearly all are indexed
_LINKS_SIZES = (1, 10, 51, 101, IDS_AT_ONCE)  # how many documents one statement asks for; the last of a page is the next one's


@cache
def _links(size: int) -> Prepared:
    """The projects of so many documents."""
    names = [f"id_{n}" for n in range(size)]
    asked = document_projects.c.document_id.in_([bindparam(name) for name in names])
    return Prepared(select(document_projects.c.project_id, document_projects.c.document_id).where(asked), *names)


@cache
def _documents(of_project: bool, state: _Asked, with_after: bool) -> tuple[Prepared, tuple[str, ...]]:
    """A page of documents, newest first, and what it is asked with. In the order of an index: a database that sorted would read all
    of the user's documents, or of the project's, for each page. Those that are not indexed are few among them and have one of their own."""
    query, place_of = select(documents), (documents.c.created_at, documents.c.id)
    names: list[str] = []
    if of_project and state != "other":  # whoever asks has looked whose it is; its documents are the same user's
        query = query.join(document_projects, document_projects.c.document_id == documents.c.id)
        query = query.where(document_projects.c.project_id == bindparam("project_"))
        place_of = document_projects.c.created_at, document_projects.c.document_id
        names.append("project_")
    else:
        query = query.where(documents.c.user_id == bindparam("user_"))
        names.append("user_")
        if of_project:
            query = query.where(_MEMBERS)
            names.append("project_")
    if state != "any":
        query = query.where(documents.c.state == bindparam("state_"))
        names.append("state_")
    if state == "other":
        query = query.where(documents.c.state != literal_column("'indexed'"))  # the index's own words
    if with_after:
        query = query.where(tuple_(*place_of) < tuple_(bindparam("at_"), bindparam("id_")))
        names += ["at_", "id_"]
    query = query.order_by(*(column.desc() for column in place_of)).limit(bindparam("limit_"))
    return Prepared(query, *names, "limit_"), (*names, "limit_")


def list_users(conn: Connection) -> tuple[User, ...]:
    return tuple(user_of(row) for row in conn.execute(_USERS))


def key_by_hash(conn: Connection, key_hash: str) -> Key | None:
    """The key, revoked or expired ones too: they say so."""
    row = _KEY_BY_HASH.first(conn, key_hash)
    return None if row is None else key_of(row)


def list_keys(conn: Connection, user_id: str) -> tuple[Key, ...]:
    return tuple(key_of(row) for row in conn.execute(_KEYS, {"user_": user_id}))


def recent_keys(conn: Connection, since: float, limit: int = 200) -> tuple[Key, ...]:
    """Of all users, those that were made or revoked after `since`, the newest first; but for the one that a user began with."""
    return tuple(key_of(row) for row in conn.execute(_RECENT_KEYS, {"since_": since, "limit_": limit}))


def list_projects(conn: Connection, user_id: str, limit: int, after: str | None) -> Page[Project]:
    """In the order they were made."""
    if after is None:
        rows = _PROJECTS.all(conn, user_id, bounded(limit) + 1)
    else:
        rows = _PROJECTS_AFTER.all(conn, user_id, bounded(limit) + 1, *place(after, float, str))
    more = len(rows) > bounded(limit)
    rows = rows[: bounded(limit)]
    return Page(items=tuple(project_of(row) for row in rows), next=cursor(rows[-1].created_at, rows[-1].id) if more else None)


def find_project(conn: Connection, user_id: str, project: str) -> Project:
    """By id, else by name."""
    row = _PROJECT.first(conn, user_id, project) or _PROJECT_BY_NAME.first(conn, user_id, project)
    if row is None:
        raise NotFound("project", project)
    return project_of(row)


def project_figures(conn: Connection, user_id: str, project_ids: tuple[str, ...]) -> dict[str, ProjectFigures]:
    """Of those projects that are the user's and have a document."""
    found: dict[str, ProjectFigures] = {}
    for row in conn.execute(_FIGURES, {"user_": user_id, "ids_": list(project_ids[:IDS_AT_ONCE])}):
        sofar = found.get(row.project_id, ProjectFigures())
        found[row.project_id] = ProjectFigures(
            states=sofar.states | {row.state: row.count_},
            size_bytes=sofar.size_bytes + int(row.size_),
            updated_at=max(sofar.updated_at or 0.0, row.at_),
        )
    return found


def links_of(conn: Connection, document_ids: list[str]) -> dict[str, tuple[str, ...]]:
    """The projects of each document."""
    found: dict[str, list[str]] = {}
    for i in range(0, len(document_ids), IDS_AT_ONCE):
        ids = document_ids[i : i + IDS_AT_ONCE]
        size = next(size for size in _LINKS_SIZES if size >= len(ids))
        for project_id, document_id in _links(size).all(conn, *ids, *ids[:1] * (size - len(ids))):
            found.setdefault(document_id, []).append(project_id)
    return {document_id: tuple(sorted(project_ids)) for document_id, project_ids in found.items()}


def _newest_first(query: Select[Any], table: Any, limit: int, after: str | None) -> Select[Any]:
    if after is not None:
        at, id = place(after, float, str)
        query = query.where(tuple_(table.c.created_at, table.c.id) < tuple_(at, id))
    return query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(bounded(limit) + 1)


def list_documents(
    conn: Connection, user_id: str, project_id: str | None, state: str | None, limit: int, after: str | None
) -> Page[Document]:
    """Newest first."""
    if project_id is not None:
        project_id = find_project(conn, user_id, project_id).id
    values: dict[str, Any] = {"user_": user_id, "project_": project_id, "state_": state, "limit_": bounded(limit) + 1}
    if after is not None:
        values["at_"], values["id_"] = place(after, float, str)
    asked: _Asked = "any" if state is None else "indexed" if state == "indexed" else "other"
    query, names = _documents(project_id is not None, asked, after is not None)
    rows = query.all(conn, *(values[name] for name in names))
    more = len(rows) > bounded(limit)
    rows = rows[: bounded(limit)]
    links = links_of(conn, [row.id for row in rows])
    return Page(
        items=tuple(document_of(row, links.get(row.id, ())) for row in rows),
        next=cursor(rows[-1].created_at, rows[-1].id) if more else None,
    )


def _document_row(conn: Connection, user_id: str, document_id: str) -> Any:
    row = _DOCUMENT.first(conn, document_id, user_id)
    if row is None:
        raise NotFound("document", document_id)
    return row


def find_document(conn: Connection, user_id: str, document_id: str) -> Document:
    row = _document_row(conn, user_id, document_id)
    return document_of(row, links_of(conn, [document_id]).get(document_id, ()))


def document_text(conn: Connection, user_id: str, document_id: str, start: int, end: int | None) -> DocumentText:
    """Characters `start` to `end` (None: the end) of the text, at most TEXT_CHARS_MAX of them."""
    row = _document_row(conn, user_id, document_id)
    total: int = row.characters
    begin = max(0, min(start, total))
    stop = max(begin, min(total if end is None else end, total, begin + TEXT_CHARS_MAX))
    pieces = conn.execute(_PIECES, {"id_": document_id, "start_": begin, "end_": stop})
    text = "".join(piece.text[max(0, begin - piece.start) : max(0, stop - piece.start)] for piece in pieces)
    page = conn.execute(_PAGE_AT, {"id_": document_id, "start_": begin}).scalar()
    return DocumentText(document_id=document_id, title=row.title, start=begin, end=stop, total=total, text=text, page=page)


def list_jobs(
    conn: Connection, user_id: str, project_id: str | None, states: tuple[str, ...] | None, limit: int, after: str | None
) -> Page[Job]:
    """Newest first."""
    query = select(jobs).where(jobs.c.user_id == user_id)
    if project_id is not None:
        query = query.where(jobs.c.project_id == project_id)
    if states:
        query = query.where(jobs.c.state.in_(states))
    rows = conn.execute(_newest_first(query, jobs, limit, after)).all()
    more = len(rows) > bounded(limit)
    rows = rows[: bounded(limit)]
    return Page(items=tuple(job_of(row) for row in rows), next=cursor(rows[-1].created_at, rows[-1].id) if more else None)


def find_job(conn: Connection, user_id: str, job_id: str) -> Job:
    row = conn.execute(_JOB, {"id_": job_id, "user_": user_id}).first()
    if row is None:
        raise NotFound("job", job_id)
    return job_of(row)


def open_jobs(conn: Connection) -> tuple[Job, ...]:
    """Of every user: what is queued or running, oldest first."""
    return tuple(job_of(row) for row in conn.execute(_OPEN_JOBS))


def documents_named(conn: Connection, user_id: str, project_id: str | None, external_ids: tuple[str, ...]) -> tuple[str, ...]:
    """The ids of the user's documents, of this project only if one is given, that have one of the external ids."""
    query = _IDS_BY_EXTERNAL
    bound: dict[str, Any] = {"user_": user_id}
    if project_id is not None:
        query, bound = query.where(_MEMBERS), bound | {"project_": project_id}
    wanted = list(dict.fromkeys(external_ids))
    found: list[str] = []
    for i in range(0, len(wanted), IDS_AT_ONCE):
        found.extend(conn.execute(query, bound | {"ids_": wanted[i : i + IDS_AT_ONCE]}).scalars())
    return tuple(found)


def find_chunks(conn: Connection, user_id: str, chunk_ids: tuple[int, ...], project_id: str | None = None) -> Passages:
    """With a project, only what is in it now."""
    query = _CHUNKS
    bound: dict[str, Any] = {"user_": user_id}
    if project_id is not None:
        query, bound = query.where(_MEMBERS), bound | {"project_": project_id}
    found: dict[int, Chunk] = {}
    for i in range(0, len(chunk_ids), IDS_AT_ONCE):
        for row in conn.execute(query, bound | {"ids_": chunk_ids[i : i + IDS_AT_ONCE]}):
            found[row.id] = chunk_of(row)
    return Passages(chunks=tuple(found[id] for id in chunk_ids if id in found))


def neighbours(conn: Connection, user_id: str, chunk_id: int, before: int, after: int) -> Passages:
    """The passage with those around it in its document, in the document's order."""
    found = find_chunks(conn, user_id, (chunk_id,)).chunks
    if not found:
        raise NotFound("chunk", str(chunk_id))
    (chunk,) = found
    first = chunk.ordinal - max(0, min(before, NEIGHBOURS_MAX))
    last = chunk.ordinal + max(0, min(after, NEIGHBOURS_MAX))
    rows = conn.execute(_AROUND, {"document_": chunk.document_id, "from_": first, "to_": last})
    return Passages(chunks=tuple(chunk_of(row) for row in rows))


def blob_hashes(conn: Connection) -> frozenset[str]:
    """Of every user: the files of documents, of open jobs, and of JSON lines for as long as their project is there. A job that
    ended keeps no file of a document that was deleted, or that holds another by now."""
    lines = and_(jobs.c.kind == "jsonl", jobs.c.project_id.in_(select(projects.c.id)))
    named = union(
        select(documents.c.blob_hash).where(documents.c.blob_hash.is_not(None)),
        select(jobs.c.blob_hash).where(jobs.c.blob_hash.is_not(None), or_(jobs.c.state.in_(OPEN), lines)),
    )
    return frozenset(conn.execute(named).scalars())
