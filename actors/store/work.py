"""One transaction in the making: what a command's handler is given."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from actors.store.prepared import Prepared
from actors.store.tables import changes, chunks, meta, projects
from perenne.errors import InvalidRequest, NotFound
from perenne.messages.commands import SYSTEM_USER, Command

# Entities whose changes their owner may follow.
TOLD = ("project", "document", "job", "conversation", "message", "run", "watch", "alert")

_INSERT_CHANGE = Prepared(insert(changes), "seq", "origin", "origin_seq", "hlc", "entity", "id", "op", "user_id")
_SAVE = Prepared(text("SAVEPOINT one"))
_RELEASE = Prepared(text("RELEASE SAVEPOINT one"))
_BACK = Prepared(text("ROLLBACK TO SAVEPOINT one"))
_INSERT_META = insert(meta)
_META = Prepared(select(meta.c.value).where(meta.c.name == bindparam("name_")), "name_")
_EPOCH = Prepared(select(meta.c.value).where(meta.c.name == bindparam("name_")).with_for_update(), "name_")
_SET_META = update(meta).where(meta.c.name == bindparam("name_")).values(value=bindparam("value_"))
_TOUCH_PROJECT = Prepared(
    update(projects).where(projects.c.id == bindparam("id_")).values(vector_seq=bindparam("seq_")), "id_", "seq_"
)


def read_meta(conn: Connection, name: str) -> str | None:
    row = _META.first(conn, name)
    return None if row is None else row.value


def held_epoch(conn: Connection) -> int:
    """The epoch, which nobody else changes until this transaction ends. 0 before the first."""
    row = _EPOCH.first(conn, "epoch")
    return 0 if row is None else int(row.value)


def write_meta(conn: Connection, name: str, value: str) -> None:
    if conn.execute(_SET_META, {"name_": name, "value_": value}).rowcount == 0:
        conn.execute(_INSERT_META, {"name": name, "value": value})


class Counters:
    """Numbers that only the one writer gives out: read once at its start, kept with what they count."""

    def __init__(self, conn: Connection, origin: str) -> None:
        self.origin = origin
        self.seq: int = conn.execute(select(func.coalesce(func.max(changes.c.seq), 0))).scalar_one()
        own = select(func.coalesce(func.max(changes.c.origin_seq), 0)).where(changes.c.origin == origin)
        self.origin_seq: int = conn.execute(own).scalar_one()
        self.hlc: int = conn.execute(select(func.coalesce(func.max(changes.c.hlc), 0))).scalar_one()
        highest = conn.execute(select(func.coalesce(func.max(chunks.c.id), 0))).scalar_one()
        self.chunk_id = max(highest, int(read_meta(conn, "chunk_id") or 0))

    def state(self) -> tuple[int, int, int, int]:
        return self.seq, self.origin_seq, self.hlc, self.chunk_id

    def restore(self, state: tuple[int, int, int, int]) -> None:
        self.seq, self.origin_seq, self.hlc, self.chunk_id = state


class Work:
    """The open transaction, its time, and the feed rows that will go into it with the rows that they tell of.

    `prepared` is what was made of a command before the transaction was opened; `owner` whose things the command in hand changes:
    the user who sent it, and of the system's commands whoever the handler says."""

    def __init__(self, conn: Connection, counters: Counters, now: float, new_token: Callable[[], str]) -> None:
        self.conn, self.now, self.new_token = conn, now, new_token
        self._counters = counters
        self._changes: list[tuple[Any, ...]] = []
        self._last_chunk_id = counters.chunk_id  # as the database knows it
        self._saved = (counters.state(), 0)
        self.prepared: Any = None
        self.owner: str | None = None

    def change(self, entity: str, id: str, op: str) -> int:
        """Announce a change of a row; its place in the feed."""
        counters = self._counters
        counters.seq += 1
        counters.origin_seq += 1
        counters.hlc = max(counters.hlc + 1, int(self.now * 1000) << 16)  # a hybrid clock: milliseconds, then a count
        owner = self.owner if entity in TOLD else None
        self._changes.append((counters.seq, counters.origin, counters.origin_seq, counters.hlc, entity, id, op, owner))
        return counters.seq

    def searched(self, project_ids: tuple[str, ...], seq: int) -> None:
        """A search of these projects must have seen `seq` to see everything."""
        if project_ids:
            _TOUCH_PROJECT.many(self.conn, [(project_id, seq) for project_id in project_ids])

    def chunk_ids(self, count: int) -> range:
        """Fresh ids for passages, never given before."""
        first = self._counters.chunk_id + 1
        self._counters.chunk_id += count
        return range(first, first + count)

    def head(self) -> int:
        return self._counters.seq

    def save(self) -> None:
        """Begin a command: what it does can be taken back alone."""
        self._saved = (self._counters.state(), len(self._changes))
        _SAVE.run(self.conn)

    def keep(self) -> None:
        _RELEASE.run(self.conn)

    def undo(self) -> None:
        """Take the command begun last back."""
        _BACK.run(self.conn)
        _RELEASE.run(self.conn)
        state, length = self._saved
        self._counters.restore(state)
        del self._changes[length:]

    def write_feed(self) -> None:
        """Put the feed rows and the last id given to a passage into the transaction: last, all at once."""
        if self._counters.chunk_id != self._last_chunk_id:
            self._last_chunk_id = self._counters.chunk_id
            write_meta(self.conn, "chunk_id", str(self._last_chunk_id))
        if self._changes:
            _INSERT_CHANGE.many(self.conn, self._changes)
            self._changes = []


def owned(found: Any, command: Command, kind: str, id: str) -> Any:
    """The row, if it is there and its user's (or the system asks); NotFound otherwise, the same for both."""
    if found is None or command.user_id not in (found.user_id, SYSTEM_USER):
        raise NotFound(kind, id)
    return found


def required(text: str, field: str, limit: int) -> str:
    """The text stripped, not empty and not over its bound."""
    stripped = text.strip()
    if not stripped:
        raise InvalidRequest(f"{field} must not be empty", field)
    if len(stripped) > limit:
        raise InvalidRequest(f"{field} is {len(stripped)} characters long; the limit is {limit}", field)
    return stripped
