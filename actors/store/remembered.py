"""Command ids: under one id one body is done once, and asked again gives the first answer."""

import hashlib
import logging
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, delete, func, insert, select
from sqlalchemy.exc import DBAPIError

from actors.store.alert_rows import delivery_of
from actors.store.answers import kept_of, whole_of
from actors.store.jobs import job_row
from actors.store.outbox import delivery_row
from actors.store.prepared import Prepared
from actors.store.rows import encode, job_of
from actors.store.tables import commands
from perenne import errors
from perenne.errors import InvalidRequest, PerenneError
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.messages import records as r

log = logging.getLogger(__name__)

PURGE_ROWS = 1_000  # forgotten in one transaction

_FIND = select(commands.c.id, commands.c.body, commands.c.result, commands.c.seq).where(
    commands.c.id.in_(bindparam("ids_", expanding=True))
)
_FIND_ONE = Prepared(
    select(commands.c.id, commands.c.body, commands.c.result, commands.c.seq).where(commands.c.id == bindparam("id_")), "id_"
)
_INSERT = Prepared(insert(commands), "id", "body", "result", "seq", "created_at")
_NEWEST = select(func.coalesce(func.max(commands.c.created_at), 0.0))
_PURGE = delete(commands).where(
    commands.c.id.in_(
        select(commands.c.id)
        .where(commands.c.created_at < bindparam("before_"), commands.c.id != bindparam("spared_"))
        .limit(PURGE_ROWS)
        .scalar_subquery()
    )
)


def _bytes_as_hash(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return hashlib.blake2b(value, digest_size=16).hexdigest()
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def body_of(command: c.Command) -> tuple[bytes, bool]:
    """The hash of a command's kind and content, and whether a text of it may hold a NUL. InvalidRequest when it holds what no JSON
    can: a lone surrogate, a NaN in a key."""
    try:
        body = orjson.dumps(command, default=_bytes_as_hash, option=orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        raise InvalidRequest(f"the command cannot be stored: {error}") from error
    return hashlib.blake2b(type(command).__name__.encode() + body, digest_size=16).digest(), b"\\u0000" in body


def find(conn: Connection, ids: list[str]) -> dict[str, Any]:
    """Rows of the ids that were done before."""
    if len(ids) == 1:
        row = _FIND_ONE.first(conn, ids[0])
        return {} if row is None else {row.id: row}
    return {row.id: row for row in conn.execute(_FIND, {"ids_": ids})}


def row_of(command_id: str, body: bytes, answer: Any, seq: int, now: float) -> tuple[Any, ...]:
    """What is remembered of a command; `answer` is its value or its error. Texts are not."""
    if isinstance(answer, PerenneError):
        stored = ["!" + type(answer).__name__, answer.args]
    elif isinstance(answer, tuple):
        stored = ["[Job]", [leased.id for leased in answer]]  # or of deliveries: the command tells
    elif isinstance(answer, r.Job) and answer.lease_token is not None:
        stored = ["Held", answer.id]
    else:
        stored = kept_of(answer)
    return command_id, body, encode(stored), seq, now


def remember(conn: Connection, rows: list[tuple[Any, ...]]) -> None:
    _INSERT.many(conn, rows)


def answer_of(conn: Connection, command: c.Command, result: str) -> Any:
    """The first answer: a value or an error. Its texts are read again, and a job that was leased, for its lease may have moved on;
    NotFound for what was deleted since."""
    try:
        return _answer_of(conn, command, result)
    except DBAPIError:
        raise
    except errors.NotFound as error:
        return error
    except Exception as error:  # written by another version: that one command's trouble, not its neighbours'
        log.exception("the answer of command %s cannot be read", command.command_id)
        return PerenneError(f"the command was done; its first answer cannot be read: {type(error).__name__}")


def _answer_of(conn: Connection, command: c.Command, result: str) -> Any:
    kind, content = orjson.loads(result)
    if isinstance(command, a.LeaseDeliveries) and kind == "[Job]":
        found = [row for id in content if (row := delivery_row(conn, id)) is not None]
        return tuple(
            delivery_of(row, for_holder=True) for row in found if row.state == "leased" and row.worker == command.worker
        )
    if kind.startswith("!"):
        return getattr(errors, kind[1:])(*content)
    if kind in ("[Job]", "Held"):
        ids = content if kind == "[Job]" else [content]
        rows = [row for id in ids if (row := job_row(conn, id)) is not None]
        if kind == "[Job]":
            worker = getattr(command, "worker", None)
            return tuple(job_of(row, for_holder=True) for row in rows if row.state == "running" and row.worker == worker)
        token = getattr(command, "lease_token", None)
        return job_of(rows[0], for_holder=rows[0].lease_token == token) if rows else errors.LeaseLost(content)
    return whole_of(conn, kind, content)


def newest(conn: Connection) -> float:
    """When the last of them was written; 0 before the first."""
    return float(conn.execute(_NEWEST).scalar_one())


def purge(conn: Connection, before: float, spared: str = "") -> int:
    """Forget ids older than `before` but for `spared`, a bounded number at a time; how many."""
    return conn.execute(_PURGE, {"before_": before, "spared_": spared}).rowcount
