"""What clients follow: the changes of one user's things after a sequence."""

from typing import Any

from sqlalchemy import Connection, bindparam, select

from actors.store.fulltext import feed_head
from actors.store.pages import bounded
from actors.store.reading import IDS_AT_ONCE
from actors.store.tables import changes, messages, runs
from actors.store.work import TOLD, read_meta
from perenne.messages.records import Change, Changes

SPAN = 5_000  # rows of the feed, of all users, that one page looks at: it takes the same time however far behind it begins

_CHANGES = (
    select(changes.c.seq, changes.c.entity, changes.c.id, changes.c.op)
    .where(
        changes.c.seq > bindparam("after_"),
        changes.c.seq <= bindparam("upto_"),
        changes.c.user_id == bindparam("user_"),
        changes.c.entity.in_(TOLD),
    )
    .order_by(changes.c.seq)
    .limit(bindparam("limit_"))
)
_TALKS: dict[str, Any] = {
    entity: select(table.c.id, table.c.conversation_id).where(table.c.id.in_(bindparam("ids_", expanding=True)))
    for entity, table in (("message", messages), ("run", runs))
}


def list_changes(conn: Connection, user_id: str, after: int | None, limit: int) -> Changes:
    """In order; `upto` may lie beyond the last of them, and below `head` when there is more to look at. None: from now on."""
    head, origin = feed_head(conn), read_meta(conn, "origin") or ""
    if after is None or after >= head:
        return Changes(items=(), upto=head, head=head, origin=origin)
    upto = min(head, after + SPAN)
    bound = {"user_": user_id, "after_": after, "upto_": upto, "limit_": bounded(limit) + 1}
    rows = conn.execute(_CHANGES, bound).all()
    if len(rows) > bounded(limit):
        rows = rows[: bounded(limit)]
        upto = rows[-1].seq
    talks = _conversations(conn, rows)
    items = tuple(Change(seq=r.seq, entity=r.entity, id=r.id, op=r.op, conversation_id=talks.get(r.id)) for r in rows)
    return Changes(items=items, upto=upto, head=head, origin=origin)


def _conversations(conn: Connection, rows: Any) -> dict[str, str]:
    """In which conversation each message and run is, of those that are still there."""
    found: dict[str, str] = {}
    for entity, query in _TALKS.items():
        ids = list({row.id for row in rows if row.entity == entity})
        for i in range(0, len(ids), IDS_AT_ONCE):
            found |= {row.id: row.conversation_id for row in conn.execute(query, {"ids_": ids[i : i + IDS_AT_ONCE]})}
    return found
