"""Commands about conversations and their messages."""

from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from actors.store.branches import parent_of, show
from actors.store.prepared import Prepared
from actors.store.projects import project_row
from actors.store.rows import conversation_of, encode, message_of, run_of
from actors.store.runs import OPEN, request_stop, run_row, tell_if_it_waits
from actors.store.tables import conversations, messages, run_events, runs
from actors.store.work import Work, owned
from perenne import names
from perenne.errors import Conflict, InvalidRequest, NotFound
from perenne.messages.commands import (
    Command,
    CreateConversation,
    DeleteConversation,
    Deleted,
    MessagePosted,
    PostMessage,
    RegenerateReply,
    RenameConversation,
)
from perenne.messages.records import Conversation, Message, RunOptions

TITLE_CHARS_MAX = 200
OWN_TITLE_CHARS = 80  # of a title made of the first question

_CONVERSATION = Prepared(select(conversations).where(conversations.c.id == bindparam("id_")), "id_")
_INSERT = Prepared(insert(conversations), "id", "user_id", "project_id", "title", "created_at", "updated_at")
_RENAME = (
    update(conversations)
    .where(conversations.c.id == bindparam("id_"))
    .values(title=bindparam("title_"), updated_at=bindparam("now_"))
)
_TOUCH = update(conversations).where(conversations.c.id == bindparam("id_")).values(updated_at=bindparam("now_"))
_DELETE = delete(conversations).where(conversations.c.id == bindparam("id_"))
_RUN_IDS = select(runs.c.id).where(runs.c.conversation_id == bindparam("id_"))
_DELETE_EVENTS = delete(run_events).where(run_events.c.run_id == bindparam("id_"))
_DELETE_RUNS = delete(runs).where(runs.c.conversation_id == bindparam("id_"))
_DELETE_MESSAGES = delete(messages).where(messages.c.conversation_id == bindparam("id_"))
_MESSAGE = select(messages).where(messages.c.id == bindparam("id_"))
_INSERT_MESSAGE = insert(messages)
_INSERT_RUN = insert(runs)
_BEING_WRITTEN = select(runs.c.id).where(
    runs.c.conversation_id == bindparam("conversation_"), runs.c.question_id == bindparam("id_"), runs.c.state.in_(OPEN)
)
_RUN_OF_REPLY = select(runs.c.question_id).where(runs.c.message_id == bindparam("id_"))


def _row(conn: Connection, conversation_id: str) -> Any:
    return _CONVERSATION.first(conn, conversation_id)


def _own(work: Work, command: Command, conversation_id: str) -> Any:
    return owned(_row(work.conn, conversation_id), command, "conversation", conversation_id)


def _insert(work: Work, user_id: str, conversation_id: str, project_id: str | None, title: str) -> Conversation:
    if project_id is not None and project_row(work.conn, project_id, user_id) is None:
        raise NotFound("project", project_id)
    made = Conversation(
        id=conversation_id,
        user_id=user_id,
        project_id=project_id,
        title=title.strip()[:TITLE_CHARS_MAX],
        created_at=work.now,
        updated_at=work.now,
    )
    _INSERT.run(work.conn, made.id, user_id, project_id, made.title, work.now, work.now)
    work.change("conversation", conversation_id, "insert")
    return made


def create_conversation(work: Work, command: CreateConversation) -> Conversation:
    return _insert(work, command.user_id, command.conversation_id, command.project_id, command.title)


def rename_conversation(work: Work, command: RenameConversation) -> Conversation:
    _own(work, command, command.conversation_id)
    title = command.title.strip()[:TITLE_CHARS_MAX]
    work.conn.execute(_RENAME, {"id_": command.conversation_id, "title_": title, "now_": work.now})
    work.change("conversation", command.conversation_id, "update")
    return conversation_of(_row(work.conn, command.conversation_id))


def delete_conversation(work: Work, command: DeleteConversation) -> Deleted:
    """All of it, at once. A host that is still answering in it finds its run gone at its next append, and stops."""
    conversation_id = command.conversation_id
    _own(work, command, conversation_id)
    run_ids: list[dict[str, Any]] = [{"id_": row.id} for row in work.conn.execute(_RUN_IDS, {"id_": conversation_id})]
    if run_ids:
        work.conn.execute(_DELETE_EVENTS, run_ids)
    work.conn.execute(_DELETE_RUNS, {"id_": conversation_id})
    work.conn.execute(_DELETE_MESSAGES, {"id_": conversation_id})
    work.conn.execute(_DELETE, {"id_": conversation_id})
    for run in run_ids:
        work.change("run", run["id_"], "delete")
    work.change("conversation", conversation_id, "delete")
    return Deleted(id=conversation_id)


def post_message(work: Work, command: PostMessage) -> MessagePosted:
    text = command.text
    if not text.strip():
        raise InvalidRequest("text must not be empty", "text")
    if len(text) > names.MESSAGE_CHARS_MAX:
        raise InvalidRequest(f"text is {len(text)} characters long; the limit is {names.MESSAGE_CHARS_MAX}", "text")
    row = _row(work.conn, command.conversation_id)
    if row is None and (named := command.parent_id or command.edits) is not None:
        raise NotFound("message", named)
    if row is None:
        title = " ".join(text.split())[:OWN_TITLE_CHARS]
        row, parent = _insert(work, command.user_id, command.conversation_id, command.project_id, title), None
    else:
        owned(row, command, "conversation", command.conversation_id)
        parent = parent_of(work, row, command)
        work.conn.execute(_TOUCH, {"id_": row.id, "now_": work.now})
        work.change("conversation", row.id, "update")
    position = 1 if parent is None else parent.position + 1
    question = _insert_message(
        work, row.id, command.message_id, "user", text, None if parent is None else parent.id, position, None, "done"
    )
    return _answer(work, row, question, position + 1, command)


def regenerate_reply(work: Work, command: RegenerateReply) -> MessagePosted:
    """`message_id` is an answer, or its question."""
    found = work.conn.execute(_MESSAGE, {"id_": command.message_id}).first()
    if found is None:
        raise NotFound("message", command.message_id)
    row = _row(work.conn, found.conversation_id)
    if row is None or row.user_id != command.user_id:
        raise NotFound("message", command.message_id)
    question = found
    if found.role != "user":
        question_id = work.conn.execute(_RUN_OF_REPLY, {"id_": found.id}).scalar()
        question = None if question_id is None else work.conn.execute(_MESSAGE, {"id_": question_id}).first()
        if question is None:
            raise Conflict("this message answers no question")
    for old in work.conn.execute(_BEING_WRITTEN, {"conversation_": row.id, "id_": question.id}).all():
        request_stop(work, run_row(work.conn, old.id))
    work.conn.execute(_TOUCH, {"id_": row.id, "now_": work.now})
    work.change("conversation", row.id, "update")
    return _answer(work, row, message_of(question), question.position + 1, command)


def _answer(
    work: Work, conversation: Any, question: Message, position: int, command: PostMessage | RegenerateReply
) -> MessagePosted:
    """The empty answer and its queued run; its branch is the one that is shown."""
    reply = _insert_message(
        work, conversation.id, command.reply_id, "assistant", "", question.id, position, command.run_id, "queued"
    )
    show(work, conversation.id, reply.id)
    options: RunOptions = command.options
    work.conn.execute(
        _INSERT_RUN,
        {
            "id": command.run_id,
            "user_id": conversation.user_id,
            "conversation_id": conversation.id,
            "question_id": question.id,
            "message_id": reply.id,
            "project_id": conversation.project_id,
            "state": "queued",
            "attempt": 1,
            "host": None,
            "stop_requested": False,
            "events": 0,
            "options": encode(options),
            "reason": None,
            "usage": None,
            "created_at": work.now,
            "updated_at": work.now,
        },
    )
    tell_if_it_waits(work, command.run_id, question.id)
    work.change("run", command.run_id, "insert")
    return MessagePosted(question=question, reply=reply, run=run_of(run_row(work.conn, command.run_id)))


def _insert_message(
    work: Work,
    conversation_id: str,
    id: str,
    role: Any,
    text: str,
    parent_id: str | None,
    position: int,
    run_id: str | None,
    state: Any,
) -> Message:
    work.conn.execute(
        _INSERT_MESSAGE,
        {
            "id": id,
            "conversation_id": conversation_id,
            "parent_id": parent_id,
            "position": position,
            "role": role,
            "text": text,
            "created_at": work.now,
            "run_id": run_id,
            "state": state,
            "citations": None,
        },
    )
    work.change("message", id, "insert")
    return Message(
        id=id,
        conversation_id=conversation_id,
        role=role,
        text=text,
        created_at=work.now,
        run_id=run_id,
        state=state,
        parent_id=parent_id,
    )
