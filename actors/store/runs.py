"""Commands about runs: begun by a host, appended to by that host alone, closed once."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from actors.store.prepared import Prepared
from actors.store.rows import encode, options_of, run_of
from actors.store.tables import messages, run_events, runs
from actors.store.work import Work, owned
from perenne.errors import Conflict, InvalidRequest, LeaseLost
from perenne.messages.commands import AppendRunEvents, CloseRun, EventBatch, StartAttempt, StopRun
from perenne.messages.records import EventKind, Run

CLOSED = ("done", "failed", "stopped")
OPEN = ("queued", "running")

EventRow = tuple[EventKind, str]  # and its data as JSON

_RUN = Prepared(select(runs).where(runs.c.id == bindparam("id_")), "id_")
_INSERT_EVENT = Prepared(insert(run_events), "run_id", "seq", "kind", "data", "created_at")
_START = (
    update(runs)
    .where(runs.c.id == bindparam("id_"))
    .values(state="running", host=bindparam("host_"), attempt=bindparam("attempt_"), updated_at=bindparam("now_"))
)
_COUNT = Prepared(
    update(runs).where(runs.c.id == bindparam("id_")).values(events=bindparam("events_"), updated_at=bindparam("now_")),
    "events_",
    "now_",
    "id_",
)
_CLOSE = (
    update(runs)
    .where(runs.c.id == bindparam("id_"))
    .values(
        state=bindparam("state_"),
        reason=bindparam("reason_"),
        usage=bindparam("usage_"),
        host=None,
        updated_at=bindparam("now_"),
    )
)
_ASK_STOP = update(runs).where(runs.c.id == bindparam("id_")).values(stop_requested=True, updated_at=bindparam("now_"))
_line = select(messages.c.id, messages.c.parent_id).where(messages.c.id == bindparam("id_")).cte("line", recursive=True)
_line = _line.union_all(select(messages.c.id, messages.c.parent_id).join(_line, messages.c.id == _line.c.parent_id))
_RUN_BEFORE = (
    select(messages.c.run_id)
    .join(_line, messages.c.id == _line.c.id)
    .where(messages.c.state.in_(OPEN))
    .order_by(messages.c.position.desc())
    .limit(1)
)
_MESSAGE_STATE = update(messages).where(messages.c.id == bindparam("id_")).values(state=bindparam("state_"))
_FOLD = (
    update(messages)
    .where(messages.c.id == bindparam("id_"))
    .values(state=bindparam("state_"), text=bindparam("text_"), citations=bindparam("citations_"))
)


def run_row(conn: Connection, run_id: str) -> Any:
    return _RUN.first(conn, run_id)


def run_before(conn: Connection, question_id: str) -> str | None:
    """The run that is to be closed before this question is answered: of answers on its branch the last that is not whole."""
    return conn.execute(_RUN_BEFORE, {"id_": question_id}).scalar()


def tell_if_it_waits(work: Work, run_id: str, question_id: str) -> None:
    """Say so in the events of a new run when an answer before its question is still being written."""
    if run_before(work.conn, question_id) is not None:
        told = encode({"stage": "queued", "detail": "the answer before it comes first"})
        _append(work, run_row(work.conn, run_id), [("status", told)])


def start_attempt(work: Work, command: StartAttempt) -> Run:
    row = owned(run_row(work.conn, command.run_id), command, "run", command.run_id)
    work.owner = row.user_id
    if row.state in CLOSED:
        raise Conflict(f"the run is {row.state}")
    if row.state == "queued" and (before := run_before(work.conn, row.question_id)) is not None:
        raise Conflict(f"the run waits for run {before}, which answers what was asked before it")
    attempt = row.attempt + (row.state == "running")
    work.conn.execute(_START, {"id_": row.id, "host_": command.host, "attempt_": attempt, "now_": work.now})
    work.conn.execute(_MESSAGE_STATE, {"id_": row.message_id, "state_": "running"})
    work.change("run", row.id, "update")
    return run_of(run_row(work.conn, row.id))


def append_run_events(work: Work, command: AppendRunEvents) -> Run:
    row = owned(run_row(work.conn, command.run_id), command, "run", command.run_id)
    work.owner = row.user_id
    if row.state in CLOSED:
        raise Conflict(f"the run is {row.state}")
    if row.state != "running" or row.host != command.host:
        raise LeaseLost(command.run_id)
    rows: list[EventRow] = work.prepared if work.prepared is not None else rows_of(command)
    _append(work, row, rows)
    if command.close is None:
        return run_of(row._replace(events=row.events + len(rows), updated_at=work.now))
    _close(work, row, command.close)
    return run_of(run_row(work.conn, row.id))


def rows_of(command: AppendRunEvents) -> list[EventRow]:
    """The events checked and taken apart. Needs no database: it is done before the transaction."""
    if not isinstance(command.events, EventBatch) or not isinstance(command.events.lines, bytes):
        raise InvalidRequest(f"events: expected an EventBatch of bytes, got {type(command.events).__name__}", "events")
    return command.events.rows()


def _append(work: Work, row: Any, events: Sequence[EventRow]) -> None:
    """Number events on from the run's last. Deltas are no news to the feed: followers ask for events by sequence."""
    if not events:
        return
    run_id, now = row.id, work.now
    _INSERT_EVENT.many(work.conn, [(run_id, seq, kind, data, now) for seq, (kind, data) in enumerate(events, row.events + 1)])
    _COUNT.run(work.conn, row.events + len(events), now, run_id)


def _close(work: Work, row: Any, close: CloseRun) -> None:
    """The run ends and its message becomes what it will stay."""
    if close.state not in CLOSED:
        raise InvalidRequest(f"a run ends {', '.join(CLOSED)}, not {close.state!r}", "close")
    usage = None if close.usage is None else encode(close.usage)
    work.conn.execute(
        _CLOSE, {"id_": row.id, "state_": close.state, "reason_": close.reason, "usage_": usage, "now_": work.now}
    )
    citations = encode(close.citations) if close.citations else None
    work.conn.execute(_FOLD, {"id_": row.message_id, "state_": close.state, "text_": close.text, "citations_": citations})
    work.change("run", row.id, "update")
    work.change("message", row.message_id, "update")


def stop_run(work: Work, command: StopRun) -> Run:
    """Stopping a run that is closed changes nothing."""
    row = owned(run_row(work.conn, command.run_id), command, "run", command.run_id)
    work.owner = row.user_id
    request_stop(work, row)
    return run_of(run_row(work.conn, command.run_id))


def request_stop(work: Work, row: Any) -> None:
    """A queued run ends at once, with the event that says so; a running one is asked to."""
    if row is None or row.state in CLOSED:
        return
    if row.state == "running":
        work.conn.execute(_ASK_STOP, {"id_": row.id, "now_": work.now})
        work.change("run", row.id, "update")
        return
    done = {
        "state": "stopped",
        "finish_reason": "cancelled",
        "message_id": row.message_id,
        "text": "",
        "usage": None,
        "citations": [],
        "grounded": options_of(row.options).grounded,
    }
    work.conn.execute(_ASK_STOP, {"id_": row.id, "now_": work.now})
    _append(work, row, [("done", encode(done))])
    _close(work, row, CloseRun(state="stopped", text="", reason="stopped before it began"))
