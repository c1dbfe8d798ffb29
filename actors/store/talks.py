"""Questions about conversations, their messages and runs."""

from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, tuple_

from actors.store.branches import rows_of_branch, siblings_of
from actors.store.pages import bounded, cursor, place
from actors.store.rows import conversation_of, event_of, message_of, run_of
from actors.store.runs import OPEN, run_before
from actors.store.tables import chunks, conversations, documents, jobs, messages, projects, run_events, runs
from perenne.errors import NotFound
from perenne.messages.records import Conversation, Message, Page, Run, RunEvent

_CONVERSATION = select(conversations).where(
    conversations.c.id == bindparam("id_"), conversations.c.user_id == bindparam("user_")
)
_MESSAGE = (
    select(messages)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(messages.c.id == bindparam("id_"), conversations.c.user_id == bindparam("user_"))
)
_RUN = select(runs).where(runs.c.id == bindparam("id_"))
_EVENTS = (
    select(run_events)
    .where(run_events.c.run_id == bindparam("id_"), run_events.c.seq > bindparam("after_"))
    .order_by(run_events.c.seq)
    .limit(bindparam("limit_"))
)
_OPEN_RUNS = select(runs).where(runs.c.state.in_(OPEN)).order_by(runs.c.created_at, runs.c.id)


def list_conversations(
    conn: Connection, user_id: str, project_id: str | None, limit: int, after: str | None
) -> Page[Conversation]:
    """Last used first."""
    query = select(conversations).where(conversations.c.user_id == user_id)
    if project_id is not None:
        query = query.where(conversations.c.project_id == project_id)
    if after is not None:
        at, id = place(after, float, str)
        query = query.where(tuple_(conversations.c.updated_at, conversations.c.id) < tuple_(at, id))
    ordered = query.order_by(conversations.c.updated_at.desc(), conversations.c.id.desc())
    rows = conn.execute(ordered.limit(bounded(limit) + 1)).all()
    more = len(rows) > bounded(limit)
    rows = rows[: bounded(limit)]
    return Page(
        items=tuple(conversation_of(row) for row in rows),
        next=cursor(rows[-1].updated_at, rows[-1].id) if more else None,
    )


def find_conversation(conn: Connection, user_id: str, conversation_id: str) -> Conversation:
    row = conn.execute(_CONVERSATION, {"id_": conversation_id, "user_": user_id}).first()
    if row is None:
        raise NotFound("conversation", conversation_id)
    return conversation_of(row)


def list_messages(
    conn: Connection, user_id: str, conversation_id: str, limit: int, after: str | None, leaf_id: str | None = None
) -> Page[Message]:
    """Those of one branch, in order: the one that ends with `leaf_id`, else the one that is shown. All pages are of one branch."""
    conversation = find_conversation(conn, user_id, conversation_id)
    position, leaf_id = (0, leaf_id or conversation.leaf_id) if after is None else place(after, int, str)
    if leaf_id is None:
        return Page(items=())
    rows = rows_of_branch(conn, conversation_id, leaf_id, position, bounded(limit) + 1)
    if not rows and leaf_id != conversation.leaf_id:
        raise NotFound("message", leaf_id)
    more = len(rows) > bounded(limit)
    rows = rows[: bounded(limit)]
    beside = siblings_of(conn, conversation_id, rows)
    return Page(
        items=tuple(message_of(row, beside[row.parent_id]) for row in rows),
        next=cursor(rows[-1].position, leaf_id) if more else None,
    )


def find_message(conn: Connection, user_id: str, message_id: str) -> Message:
    """One message, of whatever branch."""
    row = conn.execute(_MESSAGE, {"id_": message_id, "user_": user_id}).first()
    if row is None:
        raise NotFound("message", message_id)
    return message_of(row)


def find_run(conn: Connection, user_id: str | None, run_id: str) -> Run:
    """`user_id` None: whose ever it is; for our own actors."""
    row = conn.execute(_RUN, {"id_": run_id}).first()
    if row is None or user_id not in (None, row.user_id):
        raise NotFound("run", run_id)
    return run_of(row)


def list_run_events(conn: Connection, user_id: str | None, run_id: str, after: int, limit: int) -> tuple[RunEvent, ...]:
    find_run(conn, user_id, run_id)
    rows = conn.execute(_EVENTS, {"id_": run_id, "after_": after, "limit_": bounded(limit)})
    return tuple(event_of(row) for row in rows)


def open_runs(conn: Connection, limit: int) -> tuple[Run, ...]:
    """Of every user: what is running, and what is queued and waits for no answer before it; oldest first."""
    ready = (row for row in conn.execute(_OPEN_RUNS).all() if row.state == "running" or not run_before(conn, row.question_id))
    return tuple(run_of(row) for row in islice(ready, bounded(limit)))


def find_run_before(conn: Connection, question_id: str) -> str | None:
    """See `runs.run_before`."""
    return run_before(conn, question_id)


def counts(conn: Connection) -> dict[str, int]:
    """Figures of the whole store, for a dashboard."""

    def count(table: Any, *conditions: Any) -> int:
        return conn.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()

    return {
        "projects": count(projects),
        "documents": count(documents),
        "chunks": count(chunks),
        "conversations": count(conversations),
        "open_runs": count(runs, runs.c.state.in_(OPEN)),
        "queued_jobs": count(jobs, jobs.c.state == "queued"),
        "running_jobs": count(jobs, jobs.c.state == "running"),
    }
