"""The outbox: messages leased, delivered, put off, given up, sent again; and what is read of them."""

from collections import Counter
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, or_, select, update

from actors.store.alert_rows import delivery_of
from actors.store.pages import bounded, cursor, place
from actors.store.prepared import Prepared
from actors.store.tables import channels, deliveries
from actors.store.work import Work
from perenne.errors import Conflict, InvalidRequest, LeaseLost, NotFound
from perenne.messages.alert_commands import (
    FailDelivery,
    FinishDelivery,
    LeaseDeliveries,
    PostponeDelivery,
    RedeliverDelivery,
)
from perenne.messages.alerts import Delivery
from perenne.messages.records import Page
from perenne.names import DELIVERY_WAIT_S_MAX

LEASE_S_MAX = 3_600.0
LEASES_MAX = 256
ERROR_CHARS_MAX = 500
_NOBODYS: dict[str, Any] = {"lease_token": None, "lease_until": None, "worker": None}

_DELIVERY = Prepared(select(deliveries).where(deliveries.c.id == bindparam("id_")), "id_")
# A time further away than any that is given was given by a clock that went ahead and was set back: it holds nobody up.
_HELD = select(deliveries.c.channel_id).where(
    deliveries.c.state == "leased", deliveries.c.lease_until.between(bindparam("now_"), bindparam("lease_max_"))
)
_OTHERS_HELD = _HELD.where(deliveries.c.worker != bindparam("worker_"))
_DUE = or_(
    and_(
        deliveries.c.state == "pending",
        or_(deliveries.c.next_at <= bindparam("now_"), deliveries.c.next_at > bindparam("wait_max_")),
    ),
    and_(
        deliveries.c.state == "leased",
        or_(deliveries.c.lease_until < bindparam("now_"), deliveries.c.lease_until > bindparam("lease_max_")),
    ),
)
_OWN = and_(deliveries.c.state == "leased", deliveries.c.worker == bindparam("worker_"))
# One that was tried comes before those behind it, however long they have been due: the order within a channel is kept.
_ORDER = (case((deliveries.c.attempt > 0, 0), else_=1), deliveries.c.next_at, deliveries.c.id)
_RESTING = and_(deliveries.c.state == "pending", deliveries.c.attempt > 0)  # its channel waits for its next try
_RESTING_CHANNELS = select(deliveries.c.channel_id).where(
    _RESTING, deliveries.c.next_at > bindparam("now_"), deliveries.c.next_at <= bindparam("wait_max_")
)
# How far back a message is in the queue of its channel: a channel that is down for a day hides no other's.
_PLACE = func.row_number().over(partition_by=deliveries.c.channel_id, order_by=_ORDER)
_LEASE = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("id_"))
    .values(
        state="leased",
        attempt=deliveries.c.attempt + 1,
        worker=bindparam("worker_"),
        lease_token=bindparam("token_"),
        lease_until=bindparam("until_"),
        updated_at=bindparam("now_"),
    )
)
_END = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("id_"))
    .values(
        state=bindparam("state_"),
        error=bindparam("error_"),
        next_at=bindparam("next_"),
        updated_at=bindparam("now_"),
        **_NOBODYS,
    )
)
_ARRIVED = update(channels).where(channels.c.id == bindparam("id_")).values(delivered_at=bindparam("now_"), error=None)
_FAILED = update(channels).where(channels.c.id == bindparam("id_")).values(error=bindparam("error_"))
_POSTPONE = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("id_"))
    .values(
        state="pending",
        attempt=0,
        next_at=bindparam("next_"),
        updated_at=bindparam("now_"),
        **_NOBODYS,
    )
)
_AGAIN = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("id_"))
    .values(state="pending", attempt=0, next_at=bindparam("now_"), error=None, updated_at=bindparam("now_"))
)


def delivery_row(conn: Connection, delivery_id: str) -> Any:
    return _DELIVERY.first(conn, delivery_id)


def lease_deliveries(work: Work, command: LeaseDeliveries) -> tuple[Delivery, ...]:
    if not 0 < command.lease_s <= LEASE_S_MAX:
        raise InvalidRequest(f"expected a lease of up to {LEASE_S_MAX:g} s, got {command.lease_s}", "lease_s")
    held_now = {"now_": work.now, "lease_max_": work.now + LEASE_S_MAX}
    now = held_now | {"wait_max_": work.now + DELIVERY_WAIT_S_MAX}
    own = {"worker_": command.worker}
    held = work.conn.execute(_OTHERS_HELD, held_now | own) if command.take_back else work.conn.execute(_HELD, held_now)
    in_hand = Counter(row.channel_id for row in held)
    due = or_(_DUE, _OWN) if command.take_back else _DUE
    ranked = select(deliveries, _PLACE.label("place")).where(due, deliveries.c.channel_id.not_in(_RESTING_CHANNELS))
    if command.but_channels:
        ranked = ranked.where(deliveries.c.channel_id.not_in(command.but_channels))
    first = ranked.subquery()
    query = select(first).where(first.c.place <= max(1, command.per_channel)).order_by(first.c.next_at, first.c.id)
    leased: list[Delivery] = []
    for row in work.conn.execute(query, now | own).all():
        if len(leased) >= min(command.limit, LEASES_MAX):
            break
        if in_hand[row.channel_id] >= max(1, command.per_channel):
            continue
        in_hand[row.channel_id] += 1
        until = work.now + command.lease_s
        work.conn.execute(_LEASE, {"id_": row.id, "token_": work.new_token(), "until_": until, "now_": work.now} | own)
        leased.append(delivery_of(_DELIVERY.first(work.conn, row.id), for_holder=True))
    return tuple(leased)


def _leased(work: Work, delivery_id: str, lease_token: str) -> Any:
    row = _DELIVERY.first(work.conn, delivery_id)
    if row is None:
        raise NotFound("delivery", delivery_id)
    if row.state != "leased" or row.lease_token != lease_token:
        raise LeaseLost(delivery_id)
    return row


def finish_delivery(work: Work, command: FinishDelivery) -> Delivery:
    row = _leased(work, command.delivery_id, command.lease_token)
    work.conn.execute(_END, {"id_": row.id, "state_": "delivered", "error_": None, "next_": row.next_at, "now_": work.now})
    work.conn.execute(_ARRIVED, {"id_": row.channel_id, "now_": work.now})
    return delivery_of(_DELIVERY.first(work.conn, row.id))


def fail_delivery(work: Work, command: FailDelivery) -> Delivery:
    row = _leased(work, command.delivery_id, command.lease_token)
    error = command.error[:ERROR_CHARS_MAX]
    dead = command.retry_in_s is None
    next_at = row.next_at if command.retry_in_s is None else work.now + max(0.0, command.retry_in_s)
    state = "dead" if dead else "pending"
    work.conn.execute(_END, {"id_": row.id, "state_": state, "error_": error, "next_": next_at, "now_": work.now})
    work.conn.execute(_FAILED, {"id_": row.channel_id, "error_": error})
    return delivery_of(_DELIVERY.first(work.conn, row.id))


def postpone_delivery(work: Work, command: PostponeDelivery) -> Delivery:
    row = _leased(work, command.delivery_id, command.lease_token)
    work.conn.execute(
        _POSTPONE, {"id_": row.id, "next_": min(max(work.now, command.until), work.now + DELIVERY_WAIT_S_MAX), "now_": work.now}
    )
    return delivery_of(_DELIVERY.first(work.conn, row.id))


def redeliver_delivery(work: Work, command: RedeliverDelivery) -> Delivery:
    row = _DELIVERY.first(work.conn, command.delivery_id)
    if row is None:
        raise NotFound("delivery", command.delivery_id)
    if row.state != "dead":
        raise Conflict(f"the delivery is {row.state}; only one that was given up (dead) is sent again")
    work.conn.execute(_AGAIN, {"id_": row.id, "now_": work.now})
    return delivery_of(_DELIVERY.first(work.conn, row.id))


# Reads


def list_deliveries(conn: Connection, state: str | None, limit: int, after: str | None) -> Page[Delivery]:
    """Newest first."""
    limit = bounded(limit)
    query = select(deliveries).order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    if after is not None:
        made, id = place(after, float, str)
        query = query.where(or_(deliveries.c.created_at < made, and_(deliveries.c.created_at == made, deliveries.c.id < id)))
    rows = conn.execute(query).all()
    items = tuple(delivery_of(row) for row in rows[:limit])
    return Page(items=items, next=cursor(items[-1].created_at, items[-1].id) if len(rows) > limit else None)


def next_delivery_at(conn: Connection, but_channels: tuple[str, ...] = ()) -> float | None:
    """When the next message is due, or the next lease runs out; None when nothing waits. A channel waits for the next try of the message
    that it could not deliver."""
    when = func.coalesce(deliveries.c.lease_until, deliveries.c.next_at)
    rest = func.max(case((_RESTING, deliveries.c.next_at)))
    query = select(func.min(when).label("first"), rest.label("rest")).where(deliveries.c.state.in_(("pending", "leased")))
    if but_channels:
        query = query.where(deliveries.c.channel_id.not_in(but_channels))
    rows = conn.execute(query.group_by(deliveries.c.channel_id)).all()
    return min((max(row.first, row.rest or row.first) for row in rows), default=None)
