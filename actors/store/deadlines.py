"""The database itself ends a question that takes too long, so that its thread is free for the next one and its moment of the
database is let go of."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

STEPS = 20_000  # of SQLite's machine between two looks at the clock: a millisecond or less
_CANCELED = "57014"  # PostgreSQL's query_canceled: what its statement_timeout raises


@contextlib.contextmanager
def ended_at(conn: Connection, until: float) -> Iterator[None]:
    """What is asked within ends at `until`, a moment of the monotonic clock, with an error that `was_ended` knows. Of PostgreSQL
    each statement ends when the rest of the time is over."""
    if conn.dialect.name != "sqlite":
        rest_ms = max(1, int(1_000 * (until - time.monotonic())))
        conn.exec_driver_sql(f"SET LOCAL statement_timeout = {rest_ms}")
        yield
        return
    session: Any = conn.connection.driver_connection
    session.set_progress_handler(lambda: time.monotonic() >= until, STEPS)
    try:
        yield
    finally:
        session.set_progress_handler(None, STEPS)


def was_ended(error: DBAPIError) -> bool:
    """Whether this is the end of a question that took too long, and no trouble of the database."""
    return getattr(error.orig, "sqlstate", None) == _CANCELED or str(error.orig) == "interrupted"
