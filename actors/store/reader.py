"""Read-only connections for a few threads; each question sees one moment of the database."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError

from actors.store.database import reading_engine
from actors.store.deadlines import ended_at, was_ended
from actors.store.fulltext import WordCounts
from actors.store.migrate import held_revision, wanted_revision
from actors.store.nul import without_nul
from actors.store.postgresql import first_line
from perenne import correlation, metrics
from perenne import metric_table as table
from perenne.errors import DeadlineExceeded, InvalidRequest, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
LONGEST_S = 30.0  # that a question may take, its wait for a thread included


class ReaderCore:
    """`open` once the writer has made the database, then `ask` from any thread or `submit` to its own."""

    def __init__(self, url: str, threads: int = THREADS, longest_s: float = LONGEST_S) -> None:
        self._url, self._longest_s = url, longest_s
        self._local = threading.local()
        self._engine: Engine | None = None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store-reader")
        self._connections: list[Connection] = []
        self._lock = threading.Lock()
        self.counted = WordCounts()

    def open(self) -> None:
        """Unavailable while the database is not there or not of this version: the writer brings it there."""
        engine = reading_engine(self._url)
        try:
            held, wanted = held_revision(engine), wanted_revision()
        except DBAPIError as error:
            raise Unavailable("the database", 1.0, first_line(error)) from error
        if held != wanted:
            raise Unavailable("the database", 1.0, f"it is at revision {held}, this reader needs {wanted}")
        self._engine = engine

    def _connection(self) -> Connection:
        conn: Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            if self._engine is None:
                raise Unavailable("the database", 0.5, "the reader is not open")
            conn = self._engine.connect()
            self._local.conn = conn
            with self._lock:
                self._connections.append(conn)
        return conn

    def ask(self, question: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `question` finds. DeadlineExceeded when that takes too long; Unavailable when the database can't be read: a new
        connection is made for the next."""
        return self._ask_until(time.monotonic() + self._longest_s, question, *args, **kwargs)

    def _ask_until(
        self, until: float, question: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if time.monotonic() >= until:
            raise self._late(question)
        args, kwargs = without_nul(args), without_nul(kwargs)  # nothing that is kept holds one
        try:
            conn = self._connection()
            with conn.begin(), ended_at(conn, until):
                return question(conn, *args, **kwargs)
        except (DataError, OverflowError, UnicodeEncodeError) as error:
            said = first_line(error) if isinstance(error, DataError) else str(error)
            raise InvalidRequest(f"the database cannot be asked for that: {said}") from error
        except DBAPIError as error:
            if was_ended(error):
                raise self._late(question) from error
            broken: Connection | None = getattr(self._local, "conn", None)
            self._local.conn = None
            if broken is not None:
                with self._lock:
                    self._connections.remove(broken)
                broken.invalidate()
                broken.close()
            raise Unavailable("the database", 0.5, first_line(error)) from error

    def _late(self, question: Callable[..., Any]) -> DeadlineExceeded:
        return DeadlineExceeded(f"the question {getattr(question, '__name__', 'of a caller')}", self._longest_s)

    def submit(self, question: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        return self._pool.submit(correlation.inherited(self._counted), time.monotonic(), question, *args, **kwargs)

    def _counted(
        self, asked_at: float, question: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        kind = getattr(question, "__name__", "other")
        try:
            return self._ask_until(asked_at + self._longest_s, question, *args, **kwargs)
        except (DeadlineExceeded, Unavailable):
            metrics.tell(table.QUESTIONS_FAILED, 1.0, kind)
            raise
        finally:
            metrics.tell(table.QUESTION_SECONDS, time.monotonic() - asked_at, kind)

    def close(self) -> None:
        """Wait for open questions, then close. Harmless twice."""
        self._pool.shutdown(wait=True)
        with self._lock:
            connections, self._connections = self._connections, []
        for conn in connections:
            conn.close()
