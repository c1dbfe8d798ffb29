"""Commands about projects, and the counters that a project keeps."""

from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from actors.store.erasure import NOTHING_KEPT, erase_documents, reason_of_the_gone
from actors.store.prepared import Prepared
from actors.store.rows import project_of
from actors.store.tables import conversations, document_projects, jobs, keys, projects
from actors.store.work import Work, required
from perenne.errors import Conflict, NotFound
from perenne.messages.commands import CreateProject, Deleted, DeleteProject, RenameProject
from perenne.messages.records import Project

NAME_CHARS_MAX = 200

_PROJECT = Prepared(select(projects).where(projects.c.id == bindparam("id_")), "id_")
_BY_NAME = select(projects.c.id).where(projects.c.user_id == bindparam("user_"), projects.c.name == bindparam("name_"))
_INSERT = insert(projects)
_RENAME = update(projects).where(projects.c.id == bindparam("id_")).values(name=bindparam("name_"))
_DELETE = delete(projects).where(projects.c.id == bindparam("id_"))
_MEMBERS = select(document_projects.c.document_id).where(document_projects.c.project_id == bindparam("id_"))
_ELSEWHERE = (
    select(document_projects.c.document_id)
    .where(document_projects.c.document_id == bindparam("document_"), document_projects.c.project_id != bindparam("id_"))
    .limit(1)
)
_UNLINK_ALL = delete(document_projects).where(document_projects.c.project_id == bindparam("id_"))
_TALKS = select(conversations.c.id).where(conversations.c.project_id == bindparam("id_"))
_LOOSEN = update(conversations).where(conversations.c.project_id == bindparam("id_")).values(project_id=None)
_DROP_KEYS = delete(keys).where(keys.c.project_id == bindparam("id_"))
_ANOTHER = select(func.min(document_projects.c.project_id)).where(
    document_projects.c.document_id == bindparam("document_"), document_projects.c.project_id != bindparam("id_")
)
_MOVE_JOBS = (
    update(jobs)
    .where(
        jobs.c.project_id == bindparam("id_"),
        jobs.c.document_id == bindparam("document_"),
        jobs.c.state.in_(("queued", "running")),
    )
    .values(project_id=_ANOTHER.scalar_subquery(), state="queued", lease_token=None, lease_until=None, worker=None)
)
_MOVE_ENDED = (
    update(jobs)
    .where(jobs.c.project_id == bindparam("id_"), jobs.c.document_id == bindparam("document_"))
    .values(project_id=_ANOTHER.scalar_subquery())
)
_CANCEL_JOBS = (
    update(jobs)
    .where(jobs.c.project_id == bindparam("id_"), jobs.c.state.in_(("queued", "running")))
    .values(
        state="cancelled",
        reason="the project was deleted",
        code="deleted",
        details=None,
        lease_token=None,
        lease_until=None,
        worker=None,
    )
)
_FORGET_LINES = (
    update(jobs)
    .where(jobs.c.project_id == bindparam("id_"), jobs.c.kind == "jsonl")
    .values(filename=None, reason=reason_of_the_gone("the project was deleted"), **NOTHING_KEPT)
)


def project_row(conn: Connection, project_id: str, user_id: str) -> Any:
    """The project's row if it is this user's, else None."""
    row = _PROJECT.first(conn, project_id)
    return row if row is not None and row.user_id == user_id else None


def _own(work: Work, project_id: str, user_id: str) -> Any:
    row = project_row(work.conn, project_id, user_id)
    if row is None:
        raise NotFound("project", project_id)
    return row


def _free_name(work: Work, user_id: str, name: str, own_id: str) -> str:
    wanted = required(name, "name", NAME_CHARS_MAX)
    holder = work.conn.execute(_BY_NAME, {"user_": user_id, "name_": wanted}).scalar()
    if holder is not None and holder != own_id:
        raise Conflict("there is a project of this name already")
    return wanted


def create_project(work: Work, command: CreateProject) -> Project:
    name = _free_name(work, command.user_id, command.name, "")
    project = Project(id=command.project_id, user_id=command.user_id, name=name, created_at=work.now)
    work.conn.execute(_INSERT, {"id": project.id, "user_id": project.user_id, "name": name, "created_at": work.now})
    work.change("project", project.id, "insert")
    return project


def rename_project(work: Work, command: RenameProject) -> Project:
    _own(work, command.project_id, command.user_id)
    name = _free_name(work, command.user_id, command.name, command.project_id)
    work.conn.execute(_RENAME, {"id_": command.project_id, "name_": name})
    work.change("project", command.project_id, "update")
    return project_of(_own(work, command.project_id, command.user_id))


def delete_project(work: Work, command: DeleteProject) -> Deleted:
    project_id = command.project_id
    _own(work, project_id, command.user_id)
    members = [row.document_id for row in work.conn.execute(_MEMBERS, {"id_": project_id})]
    shared = [m for m in members if work.conn.execute(_ELSEWHERE, {"document_": m, "id_": project_id}).first() is not None]
    for document_id in shared:  # their jobs go on in another of their projects, leased anew or when they are tried again
        work.conn.execute(_MOVE_JOBS, {"id_": project_id, "document_": document_id})
        work.conn.execute(_MOVE_ENDED, {"id_": project_id, "document_": document_id})
    work.conn.execute(_CANCEL_JOBS, {"id_": project_id})
    work.conn.execute(_FORGET_LINES, {"id_": project_id})
    gone = set(shared)
    erase_documents(work, [m for m in members if m not in gone])
    work.conn.execute(_UNLINK_ALL, {"id_": project_id})
    for document_id in shared:
        work.change("passages", document_id, "projects")
        work.change("document", document_id, "update")
    for row in work.conn.execute(_TALKS, {"id_": project_id}).all():
        work.change("conversation", row.id, "update")
    work.conn.execute(_LOOSEN, {"id_": project_id})
    work.conn.execute(_DROP_KEYS, {"id_": project_id})
    work.conn.execute(_DELETE, {"id_": project_id})
    work.change("project", project_id, "delete")
    return Deleted(id=project_id)
