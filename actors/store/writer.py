"""The one writer: many commands in one transaction, a savepoint each, one flush to disk, then all answers.

A command that fails alone is taken back alone. A full disk or an I/O error takes the whole transaction with it, released savepoints
included: then nobody is answered, the connection is opened anew, and the commands are done one by one. A commit is never tried twice.
"""

import logging
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import uuid_utils
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from actors.store import remembered
from actors.store.acknowledged import LastAcknowledged
from actors.store.checkpoint import Checkpointer
from actors.store.database import check_place, sqlite_path, sync_folder, writing_engine
from actors.store.handlers import HANDLERS
from actors.store.handover import Handover
from actors.store.lock import WriterLock
from actors.store.migrate import Safeguard, migrate
from actors.store.mutants import Mutants
from actors.store.postgresql import first_line, hold_writer_lock
from actors.store.submissions import Item, Submission, answer_all, in_our_words, item_of, outcome_of
from actors.store.work import Counters, Work, held_epoch, read_meta, write_meta
from perenne import metric_table as table
from perenne import metrics, names
from perenne.clock import Clock, SystemClock
from perenne.errors import (
    Busy,
    CommandReused,
    PerenneError,
    StorageFailed,
    TooLarge,
    Unavailable,
)
from perenne.messages.commands import SYSTEM_USER, Command, Outcome

log = logging.getLogger(__name__)

PURGE_PERIOD_S = 600.0
EARLY_S = 0.25  # of the mutant that answers too early: long enough for an answer to be out when a kill falls into it
AGAIN_S = 0.1  # pause of the writer's thread after it failed
IDLE_S = 1.0  # the writer's thread looks around this often when nothing comes


class _Interrupted(Exception):
    """The transaction is gone, and with it all that was in it. `again`: its commands may go through one by one. `away`: the
    database is no longer there."""

    def __init__(self, reason: str, again: bool, away: bool = False) -> None:
        super().__init__(reason, again, away)
        self.reason, self.again, self.away = reason, again, away


class _Fenced(Exception):
    """A later writer has this database."""


class WriterCore:
    """`open`, then `submit` from any thread. `on_commit` is called with the feed's head after each transaction, in the writer's thread;
    `tell` with what `open` is at, when the database has to be migrated; then `guard` makes a backup first.
    `handover`: a folder in which SQLite's log is copied for the backups before it is overwritten, unless `room`
    says why there is no room for it."""

    def __init__(
        self,
        url: str,
        *,
        queue: int = 4096,
        batch: int = 512,
        clock: Clock | None = None,
        mutants: Mutants | None = None,
        on_commit: Callable[[int], None] | None = None,
        dumps: Path | None = None,
        handover: Path | None = None,
        room: Callable[[], str | None] = lambda: None,
        tell: Callable[[str], None] = log.info,
        guard: Safeguard | None = None,
    ) -> None:
        self._tell, self._guard = tell, guard
        self._url, self._limit, self._batch, self._dumps = url, queue, batch, dumps
        self._clock, self._mutants = clock or SystemClock(), mutants or Mutants()
        self._began_at, self._began = self._clock.now(), self._clock.monotonic()
        self._on_commit = on_commit or (lambda _: None)
        self._waiting: deque[Submission] = deque()
        self._taken: list[Submission] = []  # in hand
        self._queued = 0  # commands waiting or in hand
        self._arrived = threading.Condition()
        self._closing = False
        self._fenced = False
        self._suspect = False  # a commit failed: what the log holds must reach the database before anything else
        self._progress = time.monotonic()
        self._purged = self._progress
        self._head = self._epoch = 0
        self._path: Path | None = None  # of SQLite's file
        self._conn: Connection | None = None
        self._checkpointer: Checkpointer | None = None
        self._copies, self._room = handover, room
        self._handover: Handover | None = None
        self._acknowledged: LastAcknowledged | None = None
        self._last_id = ""  # of the last command that the transaction in hand remembers
        self._thread: threading.Thread | None = None

    # Life

    def open(self) -> None:
        """Lock, migrate, raise the epoch, begin to write. May be called again after it raised."""
        path = self._path = sqlite_path(self._url)
        if path is not None:
            check_place(path)
            self._lock = WriterLock(path.with_suffix(".lock"))
            self._lock.acquire()
        try:
            if path is not None and self._copies is not None:
                self._handover = Handover(path, self._copies, room=self._room)
                self._handover.begin()  # before anything else opens the database
            if path is not None:
                self._acknowledged = LastAcknowledged(path)
                self._acknowledged.check()
            self._engine: Engine = writing_engine(self._url)
            if path is None:
                self._connection()  # its session holds the lock
            migrate(self._engine, path, dumps=self._dumps, tell=self._tell, guard=self._guard)
            with self._engine.connect() as conn, conn.begin():
                self._epoch = held_epoch(conn) + 1
                write_meta(conn, "epoch", str(self._epoch))
                origin = read_meta(conn, "origin")
                if origin is None:
                    origin = uuid_utils.uuid4().hex
                    write_meta(conn, "origin", origin)
                self._counters = Counters(conn, origin)
                self._began_at = max(self._clock.now(), remembered.newest(conn))
            self._began, self._head = self._clock.monotonic(), self._counters.seq
            if path is not None:
                self._checkpointer = Checkpointer(path, self._handover)
        except BaseException as error:
            if self._handover is not None:
                self._handover.close(seal=False)
            if path is not None:
                self._lock.release()
            self._drop_connection()
            if isinstance(error, _Interrupted | DBAPIError):
                reason = first_line(error) if isinstance(error, DBAPIError) else error.reason
                raise Unavailable("the database", 1.0, reason) from error
            raise
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def close(self, within_s: float = 10.0) -> None:
        """Finish what is queued, then let go of the database. Harmless twice."""
        with self._arrived:
            self._closing = True
            self._arrived.notify_all()
        if self._thread is None:
            return
        self._thread.join(within_s)
        if self._thread.is_alive():  # the lock stays with it
            log.error("the writer's thread did not end within %g s", within_s)
            return
        self._thread = None
        if self._acknowledged is not None:
            self._acknowledged.close()
        if self._checkpointer is not None:
            self._checkpointer.close()
            if self._handover is not None:
                self._handover.close(seal=True)
            self._lock.release()

    # What others see

    @property
    def head(self) -> int:
        """The feed's last committed sequence number."""
        return self._head

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def fenced(self) -> bool:
        """A later writer has the database; this one writes no more."""
        return self._fenced

    @property
    def log_bytes(self) -> int:
        """Length of the write-ahead log."""
        return 0 if self._checkpointer is None else self._checkpointer.log_bytes()

    @property
    def queue(self) -> int:
        """Commands waiting or in hand."""
        return self._queued

    @property
    def alive(self) -> bool:
        """Whether there is a thread that writes."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def progress_age_s(self) -> float:
        """Since the last transaction ended, or since there was something to do again."""
        return time.monotonic() - self._progress if self._queued else 0.0

    def submit(self, commands: Sequence[Command]) -> "Future[tuple[Outcome, ...]]":
        """Queue commands; the future has an Outcome each, in order, once they are on disk. Raises Busy (none was taken), TooLarge."""
        if len(commands) > names.COMMANDS_PER_CALL_MAX:
            raise TooLarge("the list of commands", len(commands), names.COMMANDS_PER_CALL_MAX)
        submission = Submission([item_of(command) for command in commands])
        if not commands:
            submission.answered.set_result(())
            return submission.answered
        with self._arrived:
            if self._closing or self._fenced:
                raise Unavailable(names.STORE_WRITER, 1.0, "another writer took over" if self._fenced else "it is closing")
            if self._queued + len(commands) > self._limit:
                raise Busy(names.STORE_WRITER, 0.1)
            if not self._queued:
                self._progress = time.monotonic()
            self._queued += len(commands)
            self._waiting.append(submission)
            self._arrived.notify()
        return submission.answered

    # The writer's thread

    def _run(self) -> None:
        """Write until the end. Nothing else ends this thread: what it had in hand is answered, and it goes on."""
        while True:
            try:
                self._write()
                return
            except BaseException as error:
                log.exception("the writer's thread failed: it goes on with a new connection")
                self._drop_connection()
                self._answer(None, Unavailable(names.STORE_WRITER, 1.0, f"{type(error).__name__}: {error}"))
                time.sleep(AGAIN_S)

    def _write(self) -> None:
        while True:
            self._taken = self._take() or []
            if not self._taken and self._closing:
                break
            if self._taken:
                self._serve(self._taken)
            elif self._acknowledged is not None:
                self._acknowledged.flush()
            self._keep_house()
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _take(self) -> list[Submission]:
        """As many submissions as fit one transaction; none when nothing came."""
        with self._arrived:
            if not self._waiting and not self._closing:
                self._arrived.wait(IDLE_S)
            taken: list[Submission] = []
            count = 0
            while self._waiting and (not taken or count + len(self._waiting[0].items) <= self._batch):
                submission = self._waiting.popleft()
                count += len(submission.items)
                taken.append(submission)
            return taken

    def _serve(self, taken: list[Submission]) -> None:
        items = [item for submission in taken for item in submission.items]
        outcomes: list[Outcome] | None = None
        error: PerenneError | None = None
        began = time.monotonic()
        try:
            outcomes = self._outcomes(items, taken)
        except _Fenced:
            self._fenced = True
            error = Unavailable(names.STORE_WRITER, 1.0, "another writer took over")
        except PerenneError as failure:
            error = failure
        except Exception as failure:
            log.exception("a transaction failed in a way that was not foreseen")
            self._drop_connection()
            error = Unavailable(names.STORE_WRITER, 1.0, f"{type(failure).__name__}: {failure}")
        self._answer(outcomes, error)
        _count(items, outcomes, time.monotonic() - began)
        try:
            self._on_commit(self._head)
        except Exception:
            log.exception("whoever follows the feed could not be told of %d", self._head)

    def _answer(self, outcomes: list[Outcome] | None, error: PerenneError | None) -> None:
        """Answer what was taken: each its own part of the outcomes, or the error."""
        taken, self._taken = self._taken, []
        self._progress = time.monotonic()
        with self._arrived:
            self._queued -= sum(len(submission.items) for submission in taken)
        answer_all(taken, outcomes, error)

    def _outcomes(self, items: list[Item], taken: list[Submission]) -> list[Outcome]:
        try:
            return self._transaction(items, taken)
        except _Interrupted as interrupted:
            if not interrupted.again:
                raise Unavailable(names.STORE_WRITER, 1.0, interrupted.reason) from interrupted
            log.warning("a transaction of %d commands was lost (%s): one by one", len(items), interrupted.reason)
        outcomes: list[Outcome] = []
        for item in items:
            try:
                outcomes.extend(self._transaction([item], []))
            except _Interrupted as interrupted:
                if interrupted.away or not interrupted.again:  # the ids tell whoever asks again what was done
                    raise Unavailable(names.STORE_WRITER, 1.0, interrupted.reason) from interrupted
                error = StorageFailed(interrupted.reason)
                outcomes.append(Outcome(command_id=item.command.command_id, error=error, seq=self._counters.seq))
        return outcomes

    def _connection(self) -> Connection:
        if self._conn is None:
            try:
                self._conn = self._engine.connect()
                self._claim(self._conn)
                self._name_log(self._conn)
                if self._suspect:
                    self._settle(self._conn)
                    with self._conn.begin():  # the commit that failed may have been one
                        self._counters = Counters(self._conn, self._counters.origin)
                    self._suspect = False
            except (DBAPIError, PerenneError, OSError) as error:
                self._drop_connection()
                reason = first_line(error) if isinstance(error, DBAPIError) else str(error)
                raise _Interrupted(reason, again=self._path is not None) from error
        return self._conn

    def _claim(self, conn: Connection) -> None:
        """On PostgreSQL the session that writes holds a lock; one that was lost may have been followed by another writer's."""
        if self._path is not None:
            return
        try:
            hold_writer_lock(conn)
        except Unavailable:
            with conn.begin():
                if self._epoch and held_epoch(conn) != self._epoch:
                    raise _Fenced from None
            raise

    def _name_log(self, conn: Connection) -> None:
        """The log's name is on disk before anything is committed to it. SQLite flushes the folder too, at the first commit, and takes
        no notice when that fails (unixSync in os_unix.c)."""
        if self._path is None:
            return
        with conn.begin():
            pass  # which makes the log
        sync_folder(self._path.parent)

    def _settle(self, conn: Connection) -> None:
        """After a failed flush the log may hold pages that are not on disk and will not be flushed again: move all of it into
        the database file, which is flushed anew."""
        if self._path is None:
            return
        raw: Any = conn.connection.driver_connection
        if self._checkpointer is not None:
            self._checkpointer.copy_all()
        try:
            busy = raw.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0]
        except Exception as error:
            raise StorageFailed(f"the log cannot be moved into the database: {error}") from error
        if busy:
            raise StorageFailed("the log cannot be moved into the database while a reader holds on to it")

    def _drop_connection(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            try:
                conn.invalidate()
                conn.close()
            except Exception as error:
                log.warning("a broken connection could not be closed: %s", error)

    def _transaction(self, items: list[Item], taken: list[Submission]) -> list[Outcome]:
        """One transaction. Returns when it is on disk; _Interrupted when nothing of it was kept (or, after a failed commit, when that
        is not known: the ids will tell)."""
        conn = self._connection()
        saved = self._counters.state()
        began = committing = False
        try:
            with conn.begin():
                began = True
                outcomes = self._work(conn, items)
                if self._mutants.answer_before_commit:
                    answer_all(taken, outcomes)
                    time.sleep(EARLY_S)
                committing = True
        except DBAPIError as error:
            self._counters.restore(saved)
            self._drop_connection()
            self._suspect = self._suspect or committing
            raise _Interrupted(first_line(error), again=began, away=error.connection_invalidated) from error
        except BaseException:
            self._counters.restore(saved)
            raise
        self._head = self._counters.seq
        if self._acknowledged is not None:
            self._acknowledged.note(self._counters.origin, self._epoch, self._head, self._last_id)
        return outcomes

    def _work(self, conn: Connection, items: list[Item]) -> list[Outcome]:
        if held_epoch(conn) != self._epoch:
            raise _Fenced
        work = Work(conn, self._counters, self._clock.now(), secrets.token_hex)
        first: dict[str, tuple[bytes, Any, int]] = {}  # of this transaction: body, answer, seq
        known = {} if self._mutants.no_dedup else self._known(conn, items)
        rows: list[tuple[Any, ...]] = []
        outcomes: list[Outcome] = []
        for item in items:
            command_id = item.command.command_id
            if item.refused is not None:
                outcomes.append(outcome_of(command_id, item.refused, work.head()))
                continue
            before = known.get(command_id)
            if before is not None:
                again = before.body == item.body
                answer = remembered.answer_of(conn, item.command, before.result) if again else CommandReused(command_id)
                outcomes.append(outcome_of(command_id, answer, before.seq))
                continue
            if command_id in first:
                body, answer, seq = first[command_id]
                outcomes.append(outcome_of(command_id, answer if body == item.body else CommandReused(command_id), seq))
                continue
            answer = self._one(work, item)
            seq = work.head()
            outcomes.append(outcome_of(command_id, answer, seq))
            if not self._mutants.no_dedup:
                first[command_id] = (item.body, answer, seq)
                rows.append(remembered.row_of(command_id, item.body, answer, seq, self._time_of_ids()))
        work.write_feed()
        if rows:
            remembered.remember(conn, rows)
        self._last_id = rows[-1][0] if rows else ""
        return outcomes

    def _known(self, conn: Connection, items: list[Item]) -> dict[str, Any]:
        ids = [item.command.command_id for item in items if item.refused is None]
        return remembered.find(conn, ids) if ids else {}

    def _one(self, work: Work, item: Item) -> Any:
        """One command, alone in its savepoint: its value or its error. Raises what took the whole transaction."""
        work.save()
        work.prepared = item.prepared
        work.owner = None if item.command.user_id == SYSTEM_USER else item.command.user_id
        try:
            value = HANDLERS[type(item.command)](work, item.command)
        except Exception as error:
            if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | DataError):
                raise
            work.undo()
            return in_our_words(error, item.command)
        work.keep()
        return value

    def _keep_house(self) -> None:
        """Between transactions: the log kept short, old command ids forgotten."""
        if self._conn is None or self._fenced:
            return
        try:
            if self._checkpointer is not None:
                self._checkpointer.due(self._conn.connection.driver_connection)
            overdue_s = time.monotonic() - self._purged - PURGE_PERIOD_S
            if overdue_s > (PURGE_PERIOD_S if self._waiting else 0.0):  # under a load without a pause it is done all the same
                with self._conn.begin():
                    spared = "" if self._acknowledged is None else self._acknowledged.command_id
                    gone = remembered.purge(self._conn, self._time_of_ids() - names.COMMAND_ID_KEPT_S, spared)
                if gone < remembered.PURGE_ROWS:
                    self._purged = time.monotonic()
        except Exception as error:
            log.warning("keeping the database in order failed: %s", error)
            self._drop_connection()

    def _time_of_ids(self) -> float:
        """The time by which ids are remembered and forgotten: it goes on by what passes, and never back. So one that came while the
        clock was wrong, by years ahead or behind, is as old as it is."""
        return self._began_at + self._clock.monotonic() - self._began


def _count(items: list[Item], outcomes: list[Outcome] | None, seconds: float) -> None:
    """Tell of one transaction: how many commands, how long, and how each kind ended."""
    metrics.tell(table.BATCH, len(items))
    metrics.tell(table.COMMIT_SECONDS, seconds)
    ends = ["failed"] * len(items) if outcomes is None else ["refused" if each.error else "done" for each in outcomes]
    for (kind, end), count in Counter(zip((type(item.command).__name__ for item in items), ends, strict=True)).items():
        metrics.tell(table.COMMANDS, count, kind, end)
