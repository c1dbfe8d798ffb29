"""PostgreSQL as the store's database: sessions that keep what they acknowledged, wait for nothing without end, and, of a reader,
cannot write."""

import logging
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from perenne.errors import ConfigurationError, Unavailable

log = logging.getLogger(__name__)

OLDEST = 14  # major version
CONNECT_S = 5
LOCK_MS = 5_000  # how long a statement waits for another session's lock
WRITE_MS = 60_000  # the longest statement of the writer
READ_MS = 30_000  # of a reader, until its question says how long it may take (`deadlines`)
WRITER_LOCK = int.from_bytes(b"perenne")  # an advisory lock of the database: its holder writes
_DRIVER = "postgresql+psycopg"

# A writer that was cut off from its server is let go of after about 25 s, so that another can take its place.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
_ALIKE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; "
_LIMITS = "SET idle_in_transaction_session_timeout = 60000; SET lock_timeout = {lock}; SET statement_timeout = {longest}; "
_READ_ONLY = "SET default_transaction_read_only = on"
_SERVER = (
    "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), current_setting('fsync'), "
    "current_setting('synchronous_commit')"
)
_RIGHTS = text("SELECT current_setting('server_version'), coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)")
_HOLDER = text(
    "SELECT l.pid, coalesce(host(a.client_addr), 'its own machine') AS place FROM pg_locks l "
    "LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (l.classid::bigint << 32) | l.objid::bigint = :key"
)


def postgresql_url(url: str) -> URL:
    """The address with its driver. ConfigurationError for that of another kind of database."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError("store.url: expected postgresql://USER:PASSWORD@HOST/DATABASE, got no URL") from None
    if parsed.drivername not in ("postgres", "postgresql", _DRIVER):
        raise ConfigurationError(f"store.url: expected postgresql:// or sqlite:///, got {parsed.drivername}://")
    return parsed.set(drivername=_DRIVER)


def open_engine(url: str, *, reading: bool) -> Engine:
    """An engine whose sessions are settled as ours: see this module. A transaction of a reader sees one moment."""
    engine = create_engine(
        postgresql_url(url),
        poolclass=NullPool,
        isolation_level="REPEATABLE READ" if reading else "READ COMMITTED",
        paramstyle="format",  # values in their order: what `Prepared` hands over as they are
        query_cache_size=2_000,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_S,
            "application_name": f"perenne {'reader' if reading else 'writer'}",
            **_KEEPALIVE,
        },
    )

    @event.listens_for(engine, "connect")
    def _settle(session: Any, _: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        settle(session, reading=reading)

    return engine


def settle(session: Any, *, reading: bool) -> None:
    """Bring a new session to what the store promises. ConfigurationError where the server cannot keep it."""
    session.autocommit = True
    version, encoding, flushes, waits = session.execute(_SERVER).fetchone()
    if version // 10_000 < OLDEST:
        raise ConfigurationError(f"the server is PostgreSQL {version // 10_000}; {OLDEST} or newer is needed")
    if encoding != "UTF8":
        raise ConfigurationError(f"the database keeps text as {encoding}; make it anew with ENCODING 'UTF8'")
    if flushes == "off":
        raise ConfigurationError("the server runs with fsync = off, so a power cut loses what was acknowledged; set it on")
    session.execute(_ALIKE + _LIMITS.format(lock=LOCK_MS, longest=READ_MS if reading else WRITE_MS))
    if reading:
        session.execute(_READ_ONLY)
    elif waits == "off":  # `local` and what is more wait for the disk
        session.execute("SET synchronous_commit = on")
    session.autocommit = False


def hold_writer_lock(conn: Connection) -> None:
    """Make this session the writer's until it ends. Unavailable, saying who has the database, when another's is."""
    with conn.begin():
        if conn.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": WRITER_LOCK}).scalar_one():
            return
        holder = conn.execute(_HOLDER, {"key": WRITER_LOCK}).first()
    who = f"the session of server process {holder.pid}, from {holder.place}," if holder else "another session"
    raise Unavailable("the database", 1.0, f"{who} writes to it already")


def first_line(error: DBAPIError) -> str:
    """What the driver said, in a line: never the statement or its values."""
    said = str(error.orig).strip() or type(error.orig).__name__
    return said.splitlines()[0]


class Trouble(Exception):
    """What keeps a database from being ours, in a sentence, and what to type."""

    def __init__(self, sentence: str, remedy: str) -> None:
        super().__init__(sentence, remedy)
        self.sentence, self.remedy = sentence, remedy


# What the server or the network says, what the owner can do about it. {database}, {user}, {host} and {port} are of the address.
_REMEDIES = (
    (
        "password authentication failed",
        "Set the right one: PERENNE_DATABASE_URL=postgresql://{user}:PASSWORD@{host}:{port}/{database}",
    ),
    ("no password supplied", "Name it: PERENNE_DATABASE_URL=postgresql://{user}:PASSWORD@{host}:{port}/{database}"),
    ("does not exist", "sudo -u postgres createuser --pwprompt {user}; sudo -u postgres createdb --owner {user} {database}"),
    ("no pg_hba.conf entry", "Let {user} in from this PC in the server's pg_hba.conf, then reload it"),
)
_START = "Start it (sudo systemctl start postgresql), or name where it is: PERENNE_DATABASE_URL=postgresql://…"


def found_at(url: str) -> str:
    """What the database is, in a few words, when it can be ours. Raises Trouble; changes nothing."""
    parsed = _parsed(url)
    given = {
        "host": parsed.host or "localhost",
        "port": parsed.port or 5432,
        "user": parsed.username,
        "database": parsed.database,
    }
    place = "{host}:{port}/{database}".format(**given)
    engine = open_engine(url, reading=False)
    try:
        with engine.connect() as conn, conn.begin():
            version, may_create = conn.execute(_RIGHTS).one()
    except ConfigurationError as error:
        raise Trouble(f"PostgreSQL at {place}: {error}.", "See docs/postgresql.md") from error
    except DBAPIError as error:
        said = first_line(error)
        remedy = next((remedy for sign, remedy in _REMEDIES if sign in said), _START).format(**given)
        raise Trouble(f"PostgreSQL at {place} can't be used: {said}", remedy) from error
    if not may_create:
        raise Trouble(
            f"{given['user']} may not make tables in {place}.",
            "sudo -u postgres psql -c 'ALTER DATABASE {database} OWNER TO {user}'".format(**given),
        )
    return f"PostgreSQL {version} at {place}"


def _parsed(url: str) -> URL:
    try:
        return postgresql_url(url)
    except ConfigurationError as error:
        raise Trouble(f"{error}.", "PERENNE_DATABASE_URL=postgresql://USER:PASSWORD@HOST/DATABASE") from error
