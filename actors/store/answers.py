"""What the command log keeps of an answer: all but its texts. They are read again from the rows that hold them anyway, so that
whoever deletes a row has it forgotten here too: the same id is then told that the thing is gone."""

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import Connection, Table, bindparam, select

from actors.store import alert_rows, rows
from actors.store.prepared import Prepared
from actors.store.tables import (
    alerts,
    channels,
    conversations,
    deliveries,
    documents,
    jobs,
    keys,
    messages,
    projects,
    runs,
    silences,
    subscribers,
    watches,
)
from perenne.decoding import adapter
from perenne.errors import NotFound
from perenne.messages import alert_commands as ac
from perenne.messages import alerts as al
from perenne.messages import commands as c
from perenne.messages import records as r


class _Source:
    """Where the texts of a kind of record are."""

    def __init__(self, kind: type, table: Table, record_of: Callable[[Any], Any], *texts: str) -> None:
        self.texts = texts
        self._kind, self._record_of = kind, record_of
        self._kept = tuple(field.name for field in fields(kind) if field.name not in texts)
        self._values = attrgetter(*self._kept)
        self._row = Prepared(select(table).where(table.c.id == bindparam("id_")), "id_")

    def kept(self, record: Any) -> dict[str, Any]:
        """Its fields without the texts; of those, the ones that say nothing: a row may say something there later."""
        empty = {name: value for name in self.texts if not (value := getattr(record, name))}
        return dict(zip(self._kept, self._values(record), strict=True)) | empty

    def whole(self, conn: Connection, kept: dict[str, Any]) -> Any:
        """The record with its texts as they are now. NotFound when its row is gone."""
        row = self._row.first(conn, kept["id"])
        if row is None:
            raise NotFound(self._kind.__name__.lower(), kept["id"])
        now = self._record_of(row)
        return adapter(self._kind).validate_json(orjson.dumps({name: getattr(now, name) for name in self.texts} | kept))


_SOURCES: dict[type, _Source] = {
    r.Key: _Source(r.Key, keys, rows.key_of, "label"),
    r.Project: _Source(r.Project, projects, rows.project_of, "name"),
    r.Document: _Source(
        r.Document, documents, lambda row: rows.document_of(row, ()), "title", "external_id", "filename", "reason", "details"
    ),
    r.Job: _Source(r.Job, jobs, rows.job_of, "filename", "reason", "details", "checkpoint", "result"),
    r.Conversation: _Source(r.Conversation, conversations, rows.conversation_of, "title"),
    r.Message: _Source(r.Message, messages, rows.message_of, "text", "citations"),
    r.Watch: _Source(r.Watch, watches, rows.watch_of, "path", "ignore"),
    r.Run: _Source(r.Run, runs, rows.run_of, "options", "reason"),
    al.Alert: _Source(al.Alert, alerts, alert_rows.alert_of, "title", "text", "advice", "labels"),
    al.Silence: _Source(al.Silence, silences, alert_rows.silence_of, "labels", "reason"),
    al.Channel: _Source(al.Channel, channels, alert_rows.channel_of, "name", "address", "error"),
    al.Subscriber: _Source(al.Subscriber, subscribers, alert_rows.subscriber_of, "name"),
    al.Delivery: _Source(al.Delivery, deliveries, alert_rows.delivery_of, "entries", "error"),
}
_PARTS: dict[type, dict[str, type]] = {
    c.DocumentAdded: {"document": r.Document, "job": r.Job},
    c.MessagePosted: {"question": r.Message, "reply": r.Message, "run": r.Run},
}
_KINDS: dict[str, type] = {kind.__name__: kind for kind in (*_SOURCES, *_PARTS, r.User, c.Deleted, ac.Held)}


def kept_of(answer: Any) -> list[Any]:
    """The name of an answer's kind, and what is kept of it."""
    kind = type(answer)
    if kind in _SOURCES:
        return [kind.__name__, _SOURCES[kind].kept(answer)]
    if kind not in _PARTS:
        return [kind.__name__, answer]
    held: dict[str, Any] = {field.name: getattr(answer, field.name) for field in fields(kind)}
    for name, part in _PARTS[kind].items():
        held[name] = None if held[name] is None else _SOURCES[part].kept(held[name])
    return [kind.__name__, held]


def whole_of(conn: Connection, name: str, kept: dict[str, Any]) -> Any:
    """The answer that `kept_of` was made of, its texts as they are now. NotFound when what holds them was deleted."""
    kind = _KINDS[name]
    if kind in _SOURCES:
        return _SOURCES[kind].whole(conn, kept)
    if kind not in _PARTS:
        return adapter(kind).validate_json(orjson.dumps(kept))
    parts = {part: None if kept[part] is None else _SOURCES[its].whole(conn, kept[part]) for part, its in _PARTS[kind].items()}
    return kind(**kept | parts)
