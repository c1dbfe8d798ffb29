"""The truth. Columns only: what they mean to a reader is in `perenne.messages.records`.

JSON is kept as text and decoded by its reader; times are seconds since 1970 as doubles. Full text (`chunk_terms`) is made by the
first migration, because it is SQLite's own.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _owner() -> Column[str]:
    return Column("user_id", String, ForeignKey("users.id"), nullable=False)


# Counts beyond 2³¹: SQLite's INTEGER has 64 bits, and only under that name it is the row's own key.
_Big = BigInteger().with_variant(Integer(), "sqlite")

meta = Table("meta", metadata, Column("name", String, primary_key=True), Column("value", String, nullable=False))

users = Table(
    "users",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("created_at", Double, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    _owner(),
    Column("label", String, nullable=False),
    Column("key_hash", String, nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("project_id", String, ForeignKey("projects.id", ondelete="CASCADE")),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Index(None, "user_id"),
    Index(None, "project_id"),
)

# documents and chunks are counters kept by their writers; vector_seq is the feed's last change to what is searched in it.
projects = Table(
    "projects",
    metadata,
    Column("id", String, primary_key=True),
    _owner(),
    Column("name", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("documents", Integer, nullable=False, server_default="0"),
    Column("chunks", Integer, nullable=False, server_default="0"),
    Column("vector_seq", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("user_id", "name"),
)

_NOT_INDEXED = text("state <> 'indexed'")  # few, but while much is taken in

documents = Table(
    "documents",
    metadata,
    Column("id", String, primary_key=True),
    _owner(),
    Column("title", String, nullable=False),
    Column("external_id", String),
    Column("filename", String),
    Column("media_type", String),
    Column("blob_hash", String),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("language", String),
    Column("pages", Integer),
    Column("chunks", Integer, nullable=False, server_default="0"),
    Column("characters", BigInteger, nullable=False, server_default="0"),
    Column("state", String, nullable=False),
    Column("reason", Text),
    Column("code", String),
    Column("details", Text),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index(None, "user_id", "created_at", "id"),
    Index(None, "user_id", "external_id"),
    Index(None, "user_id", "blob_hash"),
    Index("ix_documents_not_indexed", "user_id", "created_at", "id", sqlite_where=_NOT_INDEXED, postgresql_where=_NOT_INDEXED),
)

# created_at is the document's: a page of a project, newest first, is read from the index and not sorted out of all its documents.
document_projects = Table(
    "document_projects",
    metadata,
    Column("project_id", String, ForeignKey("projects.id"), primary_key=True),
    Column("document_id", String, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True),
    Column("created_at", Double, nullable=False, server_default="0"),
    Index(None, "document_id"),
    Index(None, "project_id", "created_at", "document_id"),
)

# A document's whole text in pieces, so that a slice of a book doesn't read the book.
document_texts = Table(
    "document_texts",
    metadata,
    Column("document_id", String, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("end", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
)

# Ids are given by the writer and never come back: full text and shards know a passage by them.
chunks = Table(
    "chunks",
    metadata,
    Column("id", _Big, primary_key=True, autoincrement=False),
    Column("document_id", String, ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("language", String),
    Column("ordinal", Integer, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("page", Integer),
    Column("heading_path", Text),
    Column("text", Text, nullable=False),
    Index(None, "document_id", "ordinal"),
)

vectors = Table(
    "vectors",
    metadata,
    Column("space", String, primary_key=True),
    Column("chunk_id", _Big, ForeignKey("chunks.id", ondelete="CASCADE"), primary_key=True),
    Column("document_id", String, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index(None, "space", "seq"),
    Index(None, "chunk_id"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", String, primary_key=True),
    _owner(),
    Column("project_id", String, ForeignKey("projects.id", ondelete="SET NULL")),
    Column("title", String, nullable=False),
    Column("leaf_id", String),  # the last message of the branch that is shown
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index(None, "user_id", "updated_at", "id"),
    Index(None, "project_id"),
)

# A tree: each message follows its parent, one position further from the first. Several may follow the same.
messages = Table(
    "messages",
    metadata,
    Column("id", String, primary_key=True),
    Column("conversation_id", String, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("parent_id", String),
    Column("position", Integer, nullable=False),
    Column("role", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("run_id", String),
    Column("state", String, nullable=False),
    Column("citations", Text),
    Index(None, "conversation_id", "position"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String, primary_key=True),
    _owner(),
    Column("conversation_id", String, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("question_id", String, nullable=False),
    Column("message_id", String, nullable=False),
    Column("project_id", String),
    Column("state", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("host", String),
    Column("stop_requested", Boolean, nullable=False),
    Column("events", Integer, nullable=False),
    Column("options", Text, nullable=False),
    Column("reason", Text),
    Column("usage", Text),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index(None, "conversation_id"),
    Index(None, "state", "created_at"),
)

run_events = Table(
    "run_events",
    metadata,
    Column("run_id", String, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("data", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

_OPEN_DOCUMENT = text("open_document_id IS NOT NULL")  # of few jobs, and of those of lines only

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    _owner(),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("project_id", String),
    Column("document_id", String),
    Column("blob_hash", String),
    Column("filename", String),
    Column("media_type", String),
    Column("attempts", Integer, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("unit", String, nullable=False),
    Column("reason", Text),
    Column("code", String),
    Column("details", Text),
    Column("checkpoint", Text),
    Column("open_document_id", String),
    Column("worker", String),
    Column("lease_token", String),
    Column("lease_until", Double),
    Column("not_before", Double, nullable=False),
    Column("result", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index(None, "state", "created_at"),
    Index(None, "user_id", "created_at", "id"),
    Index(None, "document_id"),
    Index(None, "project_id"),
    Index(None, "open_document_id", sqlite_where=_OPEN_DOCUMENT, postgresql_where=_OPEN_DOCUMENT),
)

# `body` is the hash of what was sent, `result` the JSON of what was answered but for its texts: those stay in the rows that hold them
# (`answers.py`), so that what is deleted is nowhere in here. Kept for COMMAND_ID_KEPT_S.
commands = Table(
    "commands",
    metadata,
    Column("id", String, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("result", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "created_at"),
)

# Folders of the PC whose files are kept as documents.
watches = Table(
    "watches",
    metadata,
    Column("id", String, primary_key=True),
    _owner(),
    Column("project_id", String, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("path", Text, nullable=False),
    Column("ignore", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "user_id", "created_at", "id"),
    Index(None, "project_id"),
)

_FIRING = text("state = 'firing'")

# What the owner should know. Of each fingerprint one at most is firing; `grouped` is what is told in one message.
alerts = Table(
    "alerts",
    metadata,
    Column("id", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("state", String, nullable=False),
    Column("event", String, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("grouped", String, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Column("resolved_at", Double),
    Column("count", BigInteger, nullable=False),
    Column("acknowledged_at", Double),
    Column("acknowledged_by", String),
    Column("silenced_by", String),
    Column("inhibited_by", String),
    Column("told_at", Double),
    Column("level", Integer, nullable=False),
    Index("uq_alerts_firing", "fingerprint", unique=True, sqlite_where=_FIRING, postgresql_where=_FIRING),
    Index(None, "last_seen", "id"),
    Index(None, "resolved_at"),
)

# What happened to alerts, told or held back: what rates are counted by. `summarized`: a summary told of it.
alert_events = Table(
    "alert_events",
    metadata,
    Column("id", String, primary_key=True),
    Column("alert_id", String, ForeignKey("alerts.id", ondelete="CASCADE"), nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("transition", String, nullable=False),
    Column("at", Double, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("summarized", Boolean, nullable=False),
    Index(None, "at"),
    Index(None, "fingerprint", "at"),
    Index(None, "alert_id"),
)

silences = Table(
    "silences",
    metadata,
    Column("id", String, primary_key=True),
    Column("events", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
)

# `url` and `signing_secret` are secrets: only the sender reads them.
channels = Table(
    "channels",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("url", Text, nullable=False),
    Column("signing_secret", Text),
    Column("address", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("delivered_at", Double),
    Column("error", Text),
)

subscribers = Table(
    "subscribers",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("channel_id", String, ForeignKey("channels.id", ondelete="CASCADE"), nullable=False),
    Column("events", Text, nullable=False),
    Column("severity", String, nullable=False),
    Column("quiet_from", String),
    Column("quiet_until", String),
    Column("time_zone", String, nullable=False),
    Column("level", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "channel_id"),
)

_OPEN_DELIVERY = text("state IN ('pending', 'leased')")

# The outbox: a message each.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column("alert_id", String, nullable=False),
    Column("channel_id", String, ForeignKey("channels.id", ondelete="CASCADE"), nullable=False),
    Column("subscriber_id", String, ForeignKey("subscribers.id", ondelete="CASCADE")),
    Column("severity", String, nullable=False),
    Column("grouped", String, nullable=False),
    Column("entries", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("worker", String),
    Column("lease_token", String),
    Column("lease_until", Double),
    Column("error", Text),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("ix_deliveries_open", "next_at", "id", sqlite_where=_OPEN_DELIVERY, postgresql_where=_OPEN_DELIVERY),
    Index(None, "subscriber_id", "grouped", "created_at"),
    Index(None, "channel_id"),
    Index(None, "state", "updated_at"),
)

changes = Table(
    "changes",
    metadata,
    Column("seq", _Big, primary_key=True, autoincrement=False),
    Column("origin", String, nullable=False),
    Column("origin_seq", BigInteger, nullable=False),
    Column("hlc", BigInteger, nullable=False),
    Column("entity", String, nullable=False),
    Column("id", String, nullable=False),
    Column("op", String, nullable=False),
    Column("user_id", String),  # whose thing it is that changed, where that is told to clients
    UniqueConstraint("origin", "origin_seq"),
    Index(None, "entity", "seq"),
)
