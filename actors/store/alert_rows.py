"""From rows of alerts, of who hears of them and of the outbox to their records."""

from typing import Any

import orjson

from perenne.decoding import adapter
from perenne.messages.alerts import Alert, Channel, ChannelSecret, Delivery, Silence, Subscriber, Told


def alert_of(row: Any) -> Alert:
    return Alert(
        id=row.id,
        fingerprint=row.fingerprint,
        severity=row.severity,
        state=row.state,
        event=row.event,
        title=row.title,
        text=row.text,
        advice=row.advice,
        labels=orjson.loads(row.labels),
        group=row.grouped,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        resolved_at=row.resolved_at,
        count=row.count,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        silenced_by=row.silenced_by,
        inhibited_by=row.inhibited_by,
        told_at=row.told_at,
        level=row.level,
    )


def silence_of(row: Any) -> Silence:
    return Silence(
        id=row.id,
        events=tuple(orjson.loads(row.events)),
        labels=orjson.loads(row.labels),
        reason=row.reason,
        created_by=row.created_by,
        created_at=row.created_at,
        ends_at=row.ends_at,
    )


def channel_of(row: Any) -> Channel:
    """Without its secrets."""
    return Channel(
        id=row.id,
        name=row.name,
        kind=row.kind,
        address=row.address,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        error=row.error,
    )


def channel_secret_of(row: Any) -> ChannelSecret:
    return ChannelSecret(id=row.id, kind=row.kind, url=row.url, signing_secret=row.signing_secret)


def subscriber_of(row: Any) -> Subscriber:
    return Subscriber(
        id=row.id,
        name=row.name,
        channel_id=row.channel_id,
        events=tuple(orjson.loads(row.events)),
        severity=row.severity,
        quiet_from=row.quiet_from,
        quiet_until=row.quiet_until,
        time_zone=row.time_zone,
        level=row.level,
        created_at=row.created_at,
    )


def delivery_of(row: Any, *, for_holder: bool = False) -> Delivery:
    """The lease's token is only for the worker that holds it."""
    return Delivery(
        id=row.id,
        alert_id=row.alert_id,
        channel_id=row.channel_id,
        subscriber_id=row.subscriber_id,
        severity=row.severity,
        group=row.grouped,
        entries=adapter(tuple[Told, ...]).validate_json(row.entries),
        state=row.state,
        attempt=row.attempt,
        next_at=row.next_at,
        worker=row.worker,
        lease_token=row.lease_token if for_holder else None,
        lease_until=row.lease_until,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
