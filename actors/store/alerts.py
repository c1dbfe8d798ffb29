"""Commands about alerts, and what is read of them. The rows of the outbox are written with the change that they tell."""

from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, update

from actors.store.alert_rows import alert_of, channel_of, silence_of
from actors.store.pages import bounded, cursor, place
from actors.store.prepared import Prepared
from actors.store.rows import encode
from actors.store.tables import alerts, channels, deliveries, silences
from actors.store.telling import add, everybody, summarize, tell, told_of
from actors.store.work import Work, required
from perenne.alerting import SEVERITIES, check_events, rank
from perenne.alerting import silences as silenced
from perenne.errors import InvalidRequest, NotFound
from perenne.messages.alert_commands import (
    AcknowledgeAlert,
    EscalateAlert,
    ForgetAlerts,
    Held,
    RaiseAlert,
    ResolveAlert,
    SummarizeHeld,
    TestAlert,
)
from perenne.messages.alerts import Alert, Silence
from perenne.messages.commands import OWNER
from perenne.messages.records import Page

TITLE_CHARS_MAX = 300
TEXT_CHARS_MAX = 4_000
LABELS_MAX = 32

_ALERT = Prepared(select(alerts).where(alerts.c.id == bindparam("id_")), "id_")
_OPEN = select(alerts).where(alerts.c.state == "firing")
_OPEN_OF = Prepared(_OPEN.where(alerts.c.fingerprint == bindparam("fingerprint_")), "fingerprint_")
_ALL_OPEN = _OPEN.order_by(alerts.c.first_seen, alerts.c.id)
_SILENCES = select(silences).where(silences.c.ends_at > bindparam("now_")).order_by(silences.c.created_at, silences.c.id)
_ALL_SILENCES = select(silences).order_by(silences.c.ends_at.desc(), silences.c.id)
_INSERT = insert(alerts)
_CHANNEL = select(channels).where(channels.c.id == bindparam("id_"))
_FORGET = delete(alerts).where(alerts.c.resolved_at < bindparam("before_"))
_FORGET_SILENCES = delete(silences).where(silences.c.ends_at < bindparam("before_"))
_FORGET_DELIVERIES = delete(deliveries).where(
    deliveries.c.state.in_(("delivered", "dead")), deliveries.c.updated_at < bindparam("before_")
)


def _alert(work: Work, alert_id: str) -> Any:
    row = _ALERT.first(work.conn, alert_id)
    if row is None:
        raise NotFound("alert", alert_id)
    return row


def _set(work: Work, row: Any, **values: Any) -> Any:
    """The row with these values, and its owner told that it changed."""
    work.conn.execute(update(alerts).where(alerts.c.id == row.id).values(**values))
    work.owner = OWNER
    work.change("alert", row.id, "update")
    return _alert(work, row.id)


def _silence(work: Work, event: str, labels: dict[str, str]) -> str | None:
    """The silence that keeps such an alert quiet now."""
    active = (silence_of(row) for row in work.conn.execute(_SILENCES, {"now_": work.now}))
    return next((each.id for each in active if silenced(each, event, labels, work.now)), None)


def _checked(command: RaiseAlert) -> dict[str, Any]:
    if command.severity not in SEVERITIES:
        raise InvalidRequest(f"expected one of {', '.join(SEVERITIES)}, got {command.severity!r}", "severity")
    if command.event.endswith("*"):
        raise InvalidRequest(f"expected the type of one event, got {command.event!r}", "event")
    check_events((command.event,))
    if len(command.labels) > LABELS_MAX:
        raise InvalidRequest(f"an alert has {LABELS_MAX} labels at most, got {len(command.labels)}", "labels")
    return {
        "severity": command.severity,
        "event": command.event,
        "title": required(command.title, "title", TITLE_CHARS_MAX),
        "text": command.text[:TEXT_CHARS_MAX],
        "advice": command.advice[:TEXT_CHARS_MAX],
        "labels": encode(command.labels),
        "grouped": command.group,
        "inhibited_by": command.inhibited_by,
        "silenced_by": None,
        "last_seen": None,
    }


def raise_alert(work: Work, command: RaiseAlert) -> Alert:
    said = _checked(command)
    said |= {"silenced_by": _silence(work, command.event, command.labels), "last_seen": work.now}
    row = _OPEN_OF.first(work.conn, required(command.fingerprint, "fingerprint", TITLE_CHARS_MAX))
    if row is None:
        row = _open(work, command, said)
        worse = False
    else:
        worse = rank(command.severity) > rank(row.severity)
        if worse:  # whoever has seen the lesser one has not seen this
            said |= {"acknowledged_at": None, "acknowledged_by": None}
        if worse and (said["silenced_by"] or said["inhibited_by"]):  # told when it is quiet no more
            said["told_at"] = None
        row = _set(work, row, count=row.count + max(0, command.seen), **said)
    if row.silenced_by is not None or row.inhibited_by is not None:
        return alert_of(row)
    if row.told_at is None:
        tell(work, row, "firing", command.pace)
    elif worse:
        tell(work, row, "worse", command.pace)
    else:
        return alert_of(row)
    return alert_of(_set(work, row, told_at=work.now))


def _open(work: Work, command: RaiseAlert, said: dict[str, Any]) -> Any:
    begun = work.now if command.first_seen is None else min(command.first_seen, work.now)
    new = {
        "id": command.alert_id,
        "fingerprint": command.fingerprint,
        "state": "firing",
        "first_seen": begun,
        "count": max(1, command.seen),
        "level": 0,
    }
    work.conn.execute(_INSERT, new | said)
    work.owner = OWNER
    work.change("alert", command.alert_id, "insert")
    return _alert(work, command.alert_id)


def resolve_alert(work: Work, command: ResolveAlert) -> Alert:
    row = _alert(work, command.alert_id)
    if row.state == "resolved":
        return alert_of(row)
    text = command.text[:TEXT_CHARS_MAX]
    row = _set(work, row, state="resolved", resolved_at=work.now, silenced_by=_silence(work, row.event, alert_of(row).labels))
    if row.told_at is not None and row.silenced_by is None:
        tell(work, row, "resolved", command.pace, text)
    return alert_of(row)


def acknowledge_alert(work: Work, command: AcknowledgeAlert) -> Alert:
    row = _alert(work, command.alert_id)
    if row.acknowledged_at is not None:
        return alert_of(row)
    by = required(command.by, "by", TITLE_CHARS_MAX)
    return alert_of(_set(work, row, acknowledged_at=work.now, acknowledged_by=by))


def escalate_alert(work: Work, command: EscalateAlert) -> Alert:
    row = _alert(work, command.alert_id)
    quiet = row.silenced_by is not None or row.inhibited_by is not None
    if row.state != "firing" or row.acknowledged_at is not None or quiet or row.level >= command.level:
        return alert_of(row)
    row = _set(work, row, level=command.level, told_at=work.now)
    tell(work, row, "escalated", command.pace)
    return alert_of(row)


def summarize_held(work: Work, command: SummarizeHeld) -> Held:
    return Held(count=summarize(work, command.pace))


def test_alert(work: Work, command: TestAlert) -> Alert:
    row = {
        "id": command.alert_id,
        "fingerprint": f"test/{command.alert_id}",
        "severity": "info",
        "state": "resolved",
        "event": "test",
        "title": "This is a test",
        "text": "You asked for it, to see whether messages arrive. Nothing is wrong.",
        "advice": "Nothing is to be done.",
        "labels": "{}",
        "grouped": "",
        "first_seen": work.now,
        "last_seen": work.now,
        "resolved_at": work.now,
        "count": 1,
        "told_at": work.now,
        "level": 0,
    }
    work.conn.execute(_INSERT, row)
    work.owner = OWNER
    work.change("alert", command.alert_id, "insert")
    made = _alert(work, command.alert_id)
    entries = (told_of(made, "test", work.now),)
    if command.channel_id is None:
        for subscriber in everybody(work):
            add(work, subscriber.channel_id, subscriber.id, "", entries, work.now)
    else:
        channel = work.conn.execute(_CHANNEL, {"id_": command.channel_id}).first()
        if channel is None:
            raise NotFound("channel", command.channel_id)
        add(work, channel_of(channel).id, None, "", entries, work.now)
    return alert_of(made)


def forget_alerts(work: Work, command: ForgetAlerts) -> Held:
    gone = work.conn.execute(_FORGET, {"before_": command.before}).rowcount
    work.conn.execute(_FORGET_SILENCES, {"before_": command.before})
    work.conn.execute(_FORGET_DELIVERIES, {"before_": command.before})
    return Held(count=gone)


def mark_silenced(work: Work) -> None:
    """Silences changed: each open alert says by which it is silenced now."""
    for row in work.conn.execute(_ALL_OPEN).all():
        by = _silence(work, row.event, alert_of(row).labels)
        if by != row.silenced_by:
            _set(work, row, silenced_by=by)


# Reads


def list_alerts(conn: Connection, state: str | None, limit: int, after: str | None) -> Page[Alert]:
    """Those that were seen last come first; `state` None: firing and over."""
    limit = bounded(limit)
    query = select(alerts).order_by(alerts.c.last_seen.desc(), alerts.c.id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(alerts.c.state == state)
    if after is not None:
        seen, id = place(after, float, str)
        query = query.where(or_(alerts.c.last_seen < seen, and_(alerts.c.last_seen == seen, alerts.c.id < id)))
    rows = conn.execute(query).all()
    items = tuple(alert_of(row) for row in rows[:limit])
    return Page(items=items, next=cursor(items[-1].last_seen, items[-1].id) if len(rows) > limit else None)


def open_alerts(conn: Connection) -> tuple[Alert, ...]:
    """All that are firing, those first that began first."""
    return tuple(alert_of(row) for row in conn.execute(_ALL_OPEN))


def alerts_over(conn: Connection, before: float) -> bool:
    """Whether there are some that were over before this."""
    return conn.execute(select(alerts.c.id).where(alerts.c.resolved_at < before).limit(1)).first() is not None


def find_alert(conn: Connection, alert_id: str) -> Alert:
    row = _ALERT.first(conn, alert_id)
    if row is None:
        raise NotFound("alert", alert_id)
    return alert_of(row)


def list_silences(conn: Connection, now: float | None) -> tuple[Silence, ...]:
    """Those that have not ended at `now`; None: all."""
    found = conn.execute(_ALL_SILENCES) if now is None else conn.execute(_SILENCES, {"now_": now})
    return tuple(silence_of(row) for row in found)
