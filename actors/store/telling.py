"""How a change of an alert comes into the outbox: one entry for each subscriber who wants it, in the message of its group, at once
with the change; or held back for a summary when there were too many."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from actors.store.alert_rows import subscriber_of
from actors.store.rows import encode
from actors.store.tables import alert_events, alerts, deliveries, subscribers
from actors.store.work import Work
from perenne.alerting import quiet_end, rank, wants
from perenne.decoding import adapter
from perenne.ids import new_id
from perenne.messages.alert_commands import Pace
from perenne.messages.alerts import Severity, Subscriber, Told, Transition

TEXT_CHARS_MAX = 2_000  # of one entry
ENTRIES_MAX = 100  # of one message; the next begins another

_SUBSCRIBERS = select(subscribers).order_by(subscribers.c.id)
_TOLD_SINCE = select(func.count()).where(alert_events.c.held.is_(False), alert_events.c.at > bindparam("since_"))
_TOLD_OF_SINCE = _TOLD_SINCE.where(alert_events.c.fingerprint == bindparam("fingerprint_"))
_INSERT_EVENT = insert(alert_events)
_INSERT_DELIVERY = insert(deliveries)
_LAST_OF_GROUP = (
    select(deliveries)
    .where(deliveries.c.subscriber_id == bindparam("subscriber_"), deliveries.c.grouped == bindparam("group_"))
    .order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc())
    .limit(1)
)
_JOIN_DELIVERY = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("id_"))
    .values(
        entries=bindparam("entries_"),
        severity=bindparam("severity_"),
        next_at=bindparam("next_"),
        updated_at=bindparam("now_"),
    )
)
_HELD = (
    select(alert_events.c.id, alert_events.c.fingerprint, alert_events.c.alert_id, alert_events.c.at)
    .where(alert_events.c.held.is_(True), alert_events.c.summarized.is_(False))
    .order_by(alert_events.c.at, alert_events.c.id)
    .limit(bindparam("limit_"))
)
_HOW_MANY = select(func.count()).where(alert_events.c.held.is_(True), alert_events.c.summarized.is_(False))
_SUMMARIZED = update(alert_events).where(alert_events.c.id == bindparam("id_")).values(summarized=True)
_ALERT = select(alerts).where(alerts.c.id == bindparam("id_"))

_HELD_AT_ONCE = 2_000


def held_back(conn: Connection) -> int:
    """How many changes no message told of yet."""
    return conn.execute(_HOW_MANY).scalar_one()


def tell(work: Work, alert: Any, transition: Transition, pace: Pace, text: str | None = None) -> bool:
    """Put a change of an alert (its row as it is now) into the outbox, or write down that it is held back; whether it was told."""
    held = not _has_room(work, alert, pace)
    event = {"id": new_id("aev"), "alert_id": alert.id, "fingerprint": alert.fingerprint, "transition": transition}
    work.conn.execute(_INSERT_EVENT, event | {"at": work.now, "held": held, "summarized": False})
    if held:
        return False
    entry = told_of(alert, transition, work.now, text)
    for subscriber in everybody(work):
        if wants(subscriber, alert.event, alert.severity, alert.level):
            put(work, subscriber, alert.grouped, entry, pace)
    return True


def told_of(alert: Any, transition: Transition, now: float, text: str | None = None) -> Told:
    said = alert.text if text is None else text
    return Told(
        alert_id=alert.id,
        transition=transition,
        severity=alert.severity,
        event=alert.event,
        title=alert.title,
        text=said[:TEXT_CHARS_MAX],
        advice=alert.advice,
        at=now,
    )


def everybody(work: Work) -> tuple[Subscriber, ...]:
    return tuple(subscriber_of(row) for row in work.conn.execute(_SUBSCRIBERS))


def _has_room(work: Work, alert: Any, pace: Pace) -> bool:
    since = work.now - pace.window_s
    own = work.conn.execute(_TOLD_OF_SINCE, {"since_": since, "fingerprint_": alert.fingerprint}).scalar_one()
    if own >= pace.per_fingerprint:
        return False
    return alert.severity == "critical" or work.conn.execute(_TOLD_SINCE, {"since_": since}).scalar_one() < pace.in_all


def put(work: Work, subscriber: Subscriber, group: str, entry: Told, pace: Pace) -> None:
    """Into the message of the group that has not gone yet, else into a new one, not before its time."""
    last = work.conn.execute(_LAST_OF_GROUP, {"subscriber_": subscriber.id, "group_": group}).first() if group else None
    if last is not None and last.state == "pending" and last.attempt == 0 and last.next_at > work.now:
        entries = adapter(tuple[Told, ...]).validate_json(last.entries)
        if len(entries) < ENTRIES_MAX:
            _join(work, subscriber, last, (*entries, entry))
            return
    next_at = work.now + pace.wait_s
    if last is not None:
        next_at = max(next_at, last.next_at + pace.interval_s)
    add(work, subscriber.channel_id, subscriber.id, group, (entry,), _after_quiet(subscriber, entry.severity, next_at))


def _join(work: Work, subscriber: Subscriber, row: Any, entries: tuple[Told, ...]) -> None:
    severity = loudest(each.severity for each in entries)
    next_at = row.next_at
    if severity == "critical" != row.severity:  # what waited for the end of quiet hours goes with it
        quiet = quiet_end(subscriber, work.now)
        next_at = work.now if quiet is not None and next_at >= quiet else next_at
    bound = {"id_": row.id, "entries_": encode(entries), "severity_": severity, "next_": next_at, "now_": work.now}
    work.conn.execute(_JOIN_DELIVERY, bound)


def loudest(severities: Iterable[Severity]) -> Severity:
    return max(severities, key=rank)


def _after_quiet(subscriber: Subscriber, severity: Severity, at: float) -> float:
    end = None if severity == "critical" else quiet_end(subscriber, at)
    return at if end is None else max(at, end)


def add(work: Work, channel_id: str, subscriber_id: str | None, group: str, entries: tuple[Told, ...], next_at: float) -> None:
    """A row of the outbox."""
    row: dict[str, Any] = {
        "id": new_id("dlv"),
        "alert_id": entries[0].alert_id,
        "channel_id": channel_id,
        "subscriber_id": subscriber_id,
        "severity": loudest(each.severity for each in entries),
        "grouped": group,
        "entries": encode(entries),
        "state": "pending",
        "attempt": 0,
        "next_at": next_at,
        "created_at": work.now,
        "updated_at": work.now,
    }
    work.conn.execute(_INSERT_DELIVERY, row)


def summarize(work: Work, pace: Pace) -> int:
    """Tell how many changes were held back of each fingerprint that has room again, with how it stands with it now."""
    found = work.conn.execute(_HELD, {"limit_": _HELD_AT_ONCE}).all()
    by_fingerprint: dict[str, list[Any]] = {}
    for row in found:
        by_fingerprint.setdefault(row.fingerprint, []).append(row)
    entries: list[tuple[Any, Told]] = []
    done: list[str] = []
    for rows in by_fingerprint.values():
        alert = work.conn.execute(_ALERT, {"id_": rows[-1].alert_id}).one()
        if not _has_room(work, alert, pace) or len(entries) >= ENTRIES_MAX:
            continue
        now = "It is firing now." if alert.state == "firing" else "It is over now."
        many = f"{len(rows)} changes of this were" if len(rows) > 1 else "One change of this was"
        text = f"{many} held back, so that you are not flooded. {now} {alert.text}".strip()
        entries.append((alert, told_of(alert, "summary", work.now, text)))
        done += [row.id for row in rows]
        event = {"id": new_id("aev"), "alert_id": alert.id, "fingerprint": alert.fingerprint, "transition": "summary"}
        work.conn.execute(_INSERT_EVENT, event | {"at": work.now, "held": False, "summarized": False})
    if not entries:
        return 0
    work.conn.execute(_SUMMARIZED, [{"id_": id} for id in done])
    for subscriber in everybody(work):
        wanted = tuple(told for alert, told in entries if wants(subscriber, alert.event, alert.severity, alert.level))
        if wanted:
            at = _after_quiet(subscriber, loudest(each.severity for each in wanted), work.now)
            add(work, subscriber.channel_id, subscriber.id, "", wanted, at)
    return len(done)
