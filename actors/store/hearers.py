"""Silences, channels and subscribers: made, gone, listed. A channel's URL and signing secret are read by its sender alone."""

from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from actors.store.alert_rows import channel_of, channel_secret_of, silence_of, subscriber_of
from actors.store.alerts import LABELS_MAX, mark_silenced
from actors.store.rows import encode
from actors.store.tables import channels, silences, subscribers
from actors.store.work import Work, required
from perenne.alerting import SEVERITIES, check_events, check_hours
from perenne.errors import Conflict, InvalidRequest, NotFound
from perenne.messages.alert_commands import (
    CreateChannel,
    CreateSilence,
    CreateSubscriber,
    DeleteChannel,
    DeleteSilence,
    DeleteSubscriber,
    RotateSecret,
)
from perenne.messages.alerts import Channel, ChannelSecret, Silence, Subscriber
from perenne.messages.commands import Deleted

NAME_CHARS_MAX = 200
URL_CHARS_MAX = 4_096
CHANNELS_MAX = 100
SUBSCRIBERS_MAX = 100
SILENCES_MAX = 1_000
LEVELS_MAX = 10
LENGTH_S_MAX = 366 * 86_400.0  # of a silence

_SILENCE = select(silences).where(silences.c.id == bindparam("id_"))
_CHANNEL = select(channels).where(channels.c.id == bindparam("id_"))
_NAMED = select(channels.c.id).where(channels.c.name == bindparam("name_"))
_SIGN = update(channels).where(channels.c.id == bindparam("id_")).values(signing_secret=bindparam("secret_"))
_CHANNELS = select(channels).order_by(channels.c.created_at, channels.c.id)
_SUBSCRIBER = select(subscribers).where(subscribers.c.id == bindparam("id_"))
_SUBSCRIBERS = select(subscribers).order_by(subscribers.c.created_at, subscribers.c.id)


def _room(work: Work, table: Any, most: int, what: str) -> None:
    if work.conn.execute(select(func.count()).select_from(table)).scalar_one() >= most:
        raise Conflict(f"there are {most} {what} already, which is the limit; delete one first")


def create_silence(work: Work, command: CreateSilence) -> Silence:
    check_events(command.events)
    if not command.events and not command.labels:
        raise InvalidRequest("a silence says what it keeps quiet: give event types (* for all) or labels", "events")
    if len(command.labels) > LABELS_MAX:
        raise InvalidRequest(f"expected {LABELS_MAX} labels at most, got {len(command.labels)}", "labels")
    if not 0 < command.length_s <= LENGTH_S_MAX:
        raise InvalidRequest(f"a silence lasts for up to {LENGTH_S_MAX:g} s, got {command.length_s}", "length_s")
    _room(work, silences, SILENCES_MAX, "silences")
    row: dict[str, Any] = {
        "id": command.silence_id,
        "events": encode(command.events),
        "labels": encode(command.labels),
        "reason": command.reason[:NAME_CHARS_MAX],
        "created_by": command.user_id,
        "created_at": work.now,
        "ends_at": work.now + command.length_s,
    }
    work.conn.execute(insert(silences), row)
    mark_silenced(work)
    return silence_of(work.conn.execute(_SILENCE, {"id_": command.silence_id}).one())


def delete_silence(work: Work, command: DeleteSilence) -> Deleted:
    _gone(work, silences, "silence", command.silence_id)
    mark_silenced(work)
    return Deleted(id=command.silence_id)


def _gone(work: Work, table: Any, what: str, id: str) -> None:
    if work.conn.execute(delete(table).where(table.c.id == id)).rowcount == 0:
        raise NotFound(what, id)


def create_channel(work: Work, command: CreateChannel) -> Channel:
    name = required(command.name, "name", NAME_CHARS_MAX)
    url = required(command.url, "url", URL_CHARS_MAX)
    if work.conn.execute(_NAMED, {"name_": name}).first() is not None:
        raise Conflict(f"there is a channel {name!r} already")
    _room(work, channels, CHANNELS_MAX, "channels")
    row: dict[str, Any] = {
        "id": command.channel_id,
        "name": name,
        "kind": command.kind,
        "url": url,
        "signing_secret": command.signing_secret,
        "address": command.address[:NAME_CHARS_MAX],
        "created_at": work.now,
    }
    work.conn.execute(insert(channels), row)
    return channel_of(work.conn.execute(_CHANNEL, {"id_": command.channel_id}).one())


def rotate_secret(work: Work, command: RotateSecret) -> Channel:
    row = work.conn.execute(_CHANNEL, {"id_": command.channel_id}).first()
    if row is None:
        raise NotFound("channel", command.channel_id)
    if row.kind != "webhook":
        raise InvalidRequest("only webhooks are signed: this channel has no secret", "channel_id")
    held = (row.signing_secret or "").split()[:1]
    new = [command.signing_secret] if command.signing_secret else []
    work.conn.execute(_SIGN, {"id_": row.id, "secret_": " ".join(new + held)})
    return channel_of(work.conn.execute(_CHANNEL, {"id_": row.id}).one())


def delete_channel(work: Work, command: DeleteChannel) -> Deleted:
    _gone(work, channels, "channel", command.channel_id)
    return Deleted(id=command.channel_id)


def create_subscriber(work: Work, command: CreateSubscriber) -> Subscriber:
    check_events(command.events)
    check_hours(command.quiet_from, command.quiet_until, command.time_zone)
    if command.severity not in SEVERITIES:
        raise InvalidRequest(f"expected one of {', '.join(SEVERITIES)}, got {command.severity!r}", "severity")
    if not 0 <= command.level <= LEVELS_MAX:
        raise InvalidRequest(f"expected a level from 0 to {LEVELS_MAX}, got {command.level}", "level")
    if work.conn.execute(_CHANNEL, {"id_": command.channel_id}).first() is None:
        raise NotFound("channel", command.channel_id)
    _room(work, subscribers, SUBSCRIBERS_MAX, "subscribers")
    row: dict[str, Any] = {
        "id": command.subscriber_id,
        "name": required(command.name, "name", NAME_CHARS_MAX),
        "channel_id": command.channel_id,
        "events": encode(command.events),
        "severity": command.severity,
        "quiet_from": command.quiet_from,
        "quiet_until": command.quiet_until,
        "time_zone": command.time_zone,
        "level": command.level,
        "created_at": work.now,
    }
    work.conn.execute(insert(subscribers), row)
    return subscriber_of(work.conn.execute(_SUBSCRIBER, {"id_": command.subscriber_id}).one())


def delete_subscriber(work: Work, command: DeleteSubscriber) -> Deleted:
    _gone(work, subscribers, "subscriber", command.subscriber_id)
    return Deleted(id=command.subscriber_id)


# Reads


def list_channels(conn: Connection) -> tuple[Channel, ...]:
    return tuple(channel_of(row) for row in conn.execute(_CHANNELS))


def channel_secret(conn: Connection, channel_id: str) -> ChannelSecret:
    row = conn.execute(_CHANNEL, {"id_": channel_id}).first()
    if row is None:
        raise NotFound("channel", channel_id)
    return channel_secret_of(row)


def list_subscribers(conn: Connection) -> tuple[Subscriber, ...]:
    return tuple(subscriber_of(row) for row in conn.execute(_SUBSCRIBERS))
