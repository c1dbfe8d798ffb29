"""The branches of a conversation: which messages lie on one, what stands beside each, and which is shown."""

from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from actors.store.rows import conversation_of
from actors.store.tables import conversations, messages
from actors.store.work import Work
from perenne.errors import InvalidRequest, NotFound
from perenne.messages.commands import ChooseBranch, PostMessage
from perenne.messages.records import Conversation

_MESSAGE = select(messages).where(messages.c.id == bindparam("id_"))
_CONVERSATION = select(conversations).where(conversations.c.id == bindparam("id_"))
_SHOW = update(conversations).where(conversations.c.id == bindparam("id_")).values(leaf_id=bindparam("leaf_"))
_BELOW = (
    select(messages.c.id, messages.c.parent_id)
    .where(messages.c.conversation_id == bindparam("id_"), messages.c.position > bindparam("position_"))
    .order_by(messages.c.position, messages.c.created_at, messages.c.id)
)
_AT = (
    select(messages.c.id, messages.c.parent_id)
    .where(
        messages.c.conversation_id == bindparam("id_"),
        messages.c.position >= bindparam("first_"),
        messages.c.position <= bindparam("last_"),
    )
    .order_by(messages.c.created_at, messages.c.id)
)

_leaf = select(messages.c.id, messages.c.parent_id).where(
    messages.c.id == bindparam("leaf_"), messages.c.conversation_id == bindparam("id_")
)
_line = _leaf.cte("line", recursive=True)
_line = _line.union_all(select(messages.c.id, messages.c.parent_id).join(_line, messages.c.id == _line.c.parent_id))
_LINE = (
    select(messages)
    .join(_line, messages.c.id == _line.c.id)
    .where(messages.c.position > bindparam("after_"))
    .order_by(messages.c.position)
    .limit(bindparam("limit_"))
)


def rows_of_branch(conn: Connection, conversation_id: str, leaf_id: str, after: int, limit: int) -> list[Any]:
    """Messages from the first of the conversation down to `leaf_id`, those beyond position `after`."""
    bound = {"id_": conversation_id, "leaf_": leaf_id, "after_": after, "limit_": limit}
    return list(conn.execute(_LINE, bound))


def siblings_of(conn: Connection, conversation_id: str, rows: list[Any]) -> dict[str | None, tuple[str, ...]]:
    """By the id of a parent: what follows it, oldest first. `rows` are of one branch, in order."""
    if not rows:
        return {}
    bound = {"id_": conversation_id, "first_": rows[0].position, "last_": rows[-1].position}
    found: dict[str | None, tuple[str, ...]] = {row.parent_id: () for row in rows}
    for row in conn.execute(_AT, bound):
        if row.parent_id in found:
            found[row.parent_id] += (row.id,)
    return found


def show(work: Work, conversation_id: str, leaf_id: str) -> None:
    """From now on the branch that ends here is the one that is shown."""
    work.conn.execute(_SHOW, {"id_": conversation_id, "leaf_": leaf_id})


def parent_of(work: Work, conversation: Any, command: PostMessage) -> Any:
    """The row of the message that a new question follows, None for a first one."""
    if command.parent_id is not None and command.edits is not None:
        raise InvalidRequest("expected `parent` or `edits`, got both", "edits")
    if command.edits is not None:
        edited = _inside(work.conn, conversation, command.edits)
        if edited.role != "user":
            raise InvalidRequest(f"edits: expected a question of the user's, got a message of the {edited.role}'s", "edits")
        return None if edited.parent_id is None else work.conn.execute(_MESSAGE, {"id_": edited.parent_id}).first()
    if command.parent_id is not None:
        parent = _inside(work.conn, conversation, command.parent_id)
        if parent.role != "assistant":
            raise InvalidRequest(f"parent: expected an answer, got a message of the {parent.role}'s", "parent")
        return parent
    leaf_id = conversation.leaf_id
    return None if leaf_id is None else work.conn.execute(_MESSAGE, {"id_": leaf_id}).first()


def _inside(conn: Connection, conversation: Any, message_id: str) -> Any:
    row = conn.execute(_MESSAGE, {"id_": message_id}).first()
    if row is None or row.conversation_id != conversation.id:
        raise NotFound("message", message_id)
    return row


def choose_branch(work: Work, command: ChooseBranch) -> Conversation:
    """Choosing what is shown already changes nothing. It is no use of the conversation: its place in the list stays."""
    message = work.conn.execute(_MESSAGE, {"id_": command.message_id}).first()
    held = None if message is None else work.conn.execute(_CONVERSATION, {"id_": message.conversation_id}).first()
    if message is None or held is None or held.user_id != command.user_id:
        raise NotFound("message", command.message_id)
    below = work.conn.execute(_BELOW, {"id_": held.id, "position_": message.position})
    newest = {row.parent_id: row.id for row in below}  # of those that follow the same the last one stays
    leaf_id = message.id
    while leaf_id in newest:
        leaf_id = newest[leaf_id]
    if leaf_id != held.leaf_id:
        show(work, held.id, leaf_id)
        work.change("conversation", held.id, "update")
    return conversation_of(work.conn.execute(_CONVERSATION, {"id_": held.id}).one())
