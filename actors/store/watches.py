"""Folders that are watched: added, removed, listed; and which documents stand for a folder's files."""

from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from actors.store.projects import project_row
from actors.store.rows import encode, watch_of
from actors.store.tables import documents, watches
from actors.store.work import Work, owned, required
from perenne.errors import Conflict, NotFound
from perenne.messages.commands import AddWatch, Deleted, RemoveWatch
from perenne.messages.records import HeldFile, Page, Watch

PATH_CHARS_MAX = 4_096
FILES_AT_ONCE = 2_000

_WATCH = select(watches).where(watches.c.id == bindparam("id_"))
_SAME = select(watches.c.id).where(
    watches.c.user_id == bindparam("user_"), watches.c.project_id == bindparam("project_"), watches.c.path == bindparam("path_")
)
_ALL = select(watches).order_by(watches.c.created_at, watches.c.id)
_OWN = _ALL.where(watches.c.user_id == bindparam("user_"))
_INSERT = insert(watches)
_DELETE = delete(watches).where(watches.c.id == bindparam("id_"))
# Text sorts by its bytes in both databases, and "0" comes after "/": what is between is what begins with `ID/`.
_FILES = (
    select(documents.c.id, documents.c.external_id, documents.c.blob_hash)
    .where(
        documents.c.user_id == bindparam("user_"),
        documents.c.external_id > bindparam("after_"),
        documents.c.external_id < bindparam("end_"),
    )
    .order_by(documents.c.external_id)
    .limit(bindparam("limit_"))
)


def add_watch(work: Work, command: AddWatch) -> Watch:
    if project_row(work.conn, command.project_id, command.user_id) is None:
        raise NotFound("project", command.project_id)
    path = required(command.path, "path", PATH_CHARS_MAX)
    same = {"user_": command.user_id, "project_": command.project_id, "path_": path}
    if work.conn.execute(_SAME, same).first() is not None:
        raise Conflict("this folder is watched for this project already")
    row: dict[str, Any] = {
        "id": command.watch_id,
        "user_id": command.user_id,
        "project_id": command.project_id,
        "path": path,
        "ignore": encode(command.ignore),
        "created_at": work.now,
    }
    work.conn.execute(_INSERT, row)
    work.change("watch", command.watch_id, "insert")
    return watch_of(work.conn.execute(_WATCH, {"id_": command.watch_id}).one())


def remove_watch(work: Work, command: RemoveWatch) -> Deleted:
    owned(work.conn.execute(_WATCH, {"id_": command.watch_id}).first(), command, "watch", command.watch_id)
    work.conn.execute(_DELETE, {"id_": command.watch_id})
    work.change("watch", command.watch_id, "delete")
    return Deleted(id=command.watch_id)


def list_watches(conn: Connection, user_id: str | None) -> tuple[Watch, ...]:
    """All of a user, or of everybody for whoever watches."""
    found = conn.execute(_ALL) if user_id is None else conn.execute(_OWN, {"user_": user_id})
    return tuple(watch_of(row) for row in found)


def watched_files(conn: Connection, user_id: str, watch_id: str, limit: int, after: str | None) -> Page[HeldFile]:
    """The documents of a folder's files, by path."""
    limit = max(1, min(limit, FILES_AT_ONCE))
    begin = f"{watch_id}/"
    bound = {"user_": user_id, "after_": after or begin, "end_": f"{watch_id}0", "limit_": limit}
    rows = conn.execute(_FILES, bound).all()
    items = tuple(HeldFile(document_id=r.id, path=r.external_id[len(begin) :], blob_hash=r.blob_hash) for r in rows)
    return Page(items=items, next=rows[-1].external_id if len(rows) == limit else None)
