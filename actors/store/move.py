"""An instance's rows moved from SQLite to PostgreSQL: one transaction there, and nothing written here.

Every table goes in the order of its keys, full text with the very terms that SQLite keeps. Then all rows are read back, and their
numbers and checksums compared, before the transaction is committed: whatever ends the move before leaves the new database empty.
The new database begins an origin of its own, so that an index which followed the one never takes the other's feed for the same;
the feed's numbers go on. No table gives out numbers by a sequence: the writer counts from the rows.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uuid_utils
from sqlalchemy import Connection, Table, TableClause, func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from actors.store.database import reading_engine, sqlite_path, writing_engine
from actors.store.lock import WriterLock
from actors.store.migrate import create_tables, held_revision, wanted_revision
from actors.store.nul import NUL, without_nul
from actors.store.postgresql import first_line, hold_writer_lock
from actors.store.postings import remember
from actors.store.tables import metadata
from actors.store.work import write_meta
from perenne.errors import ConfigurationError, StorageFailed, Unavailable

BATCH_ROWS = 500  # in memory at once: about 16 MB of a document's text
FULL_TEXT = "chunk_terms"
_TERMS = text("SELECT rowid, title, body FROM chunk_terms ORDER BY rowid")
_KEPT = text("SELECT t.passages, (SELECT count(*) FROM chunk_terms) AS postings FROM chunk_terms_total t")

Told = Callable[[str, int, int], None]  # of a table, rows done, rows in all


@dataclass(frozen=True)
class Moved:
    """What went over: rows by table, and how many texts held a NUL, which is U+FFFD now."""

    rows: dict[str, int]
    nuls: int


class Checksum:
    """The number of rows and a sum of their hashes, whatever the order in which they come."""

    def __init__(self) -> None:
        self.rows = self._sum = 0

    def add(self, row: Sequence[Any]) -> None:
        digest = hashlib.sha256(repr(tuple(row)).encode()).digest()
        self._sum = (self._sum + int.from_bytes(digest)) % (1 << 256)
        self.rows += 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checksum) and (self.rows, self._sum) == (other.rows, other._sum)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.rows} rows, {self._sum:064x}"


def move(source_url: str, target_url: str, told: Told = lambda *_: None) -> Moved:
    """Copy all rows of the SQLite database into the empty PostgreSQL database. If this returns, they are on disk there, compared.

    ConfigurationError when one of them is not such a database; Unavailable when an instance runs on either, or the server is away;
    StorageFailed when the server refused a row. After any of them the source is as it was and the target has no table."""
    path = sqlite_path(source_url)
    if path is None or sqlite_path(target_url) is not None:
        raise ConfigurationError(
            "rows are moved from SQLite to PostgreSQL: expected this instance on SQLite and --to postgresql://…"
        )
    if not path.exists():
        raise ConfigurationError(f"there is no database to move at {path}")
    lock = WriterLock(path.with_suffix(".lock"))
    lock.acquire()
    try:
        source = reading_engine(source_url)
        held, wanted = held_revision(source), wanted_revision()
        if held != wanted:
            raise ConfigurationError(
                f"the database is at revision {held!r} and this version's is {wanted!r}: start and stop the instance once, then move it"
            )
        with source.connect() as here, here.begin(), writing_engine(target_url).connect() as there:
            hold_writer_lock(there)
            with there.begin():
                return _move(here, there, told)
    except DBAPIError as error:
        said = first_line(error)
        if error.connection_invalidated or error.statement is None:
            raise Unavailable("the database", 1.0, said) from error
        raise StorageFailed(f"nothing was moved: {said}") from error
    finally:
        lock.release()


def _move(here: Connection, there: Connection, told: Told) -> Moved:
    _expect_empty(there)
    create_tables(there)
    moved: dict[str, int] = {}
    nuls = 0
    for table in metadata.sorted_tables:
        sent, replaced = _send(here, there, table, told)
        nuls += replaced
        kept = Checksum()
        for row in there.execute(select(table).execution_options(yield_per=BATCH_ROWS)):
            kept.add(row)
        if kept != sent:
            raise StorageFailed(f"nothing was moved: {table.name} has {kept} there and {sent} here")
        moved[table.name] = sent.rows
    moved[FULL_TEXT] = _send_terms(here, there, told)
    write_meta(there, "origin", uuid_utils.uuid4().hex)
    there.exec_driver_sql("ANALYZE")
    return Moved(moved, nuls)


def _expect_empty(there: Connection) -> None:
    names = sorted(inspect(there).get_table_names())
    if names:
        counts = {name: there.execute(select(func.count()).select_from(TableClause(name))).scalar_one() for name in names}
        held = [f"{name} ({count} rows)" for name, count in counts.items()]
        raise ConfigurationError(f"expected an empty database to move to, and there are tables in it: {', '.join(held)}")


def _send(here: Connection, there: Connection, table: Table, told: Told) -> tuple[Checksum, int]:
    """A checksum of what was sent, and in how many texts a NUL was replaced."""
    total = here.execute(select(func.count()).select_from(table)).scalar_one()
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    rows = here.execute(select(table).order_by(*table.primary_key.columns).execution_options(yield_per=BATCH_ROWS))
    sent, nuls = Checksum(), 0
    for batch in rows.partitions():
        made = [tuple(row) for row in batch]
        with_nul = [any(isinstance(value, str) and NUL in value for value in row) for row in made]
        if any(with_nul):
            nuls += sum(isinstance(value, str) and NUL in value for row in made for value in row)
            made = [without_nul(row) for row in made]
        _copy(there, f'COPY "{table.name}" ({columns}) FROM STDIN', table.name, made)
        for row in made:
            sent.add(row)
        told(table.name, sent.rows, total)
    return sent, nuls


def _copy(there: Connection, statement: str, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    import psycopg

    session: Any = there.connection.dbapi_connection
    try:
        with session.cursor() as cursor, cursor.copy(statement) as copied:
            for row in rows:
                copied.write_row(row)
    except psycopg.OperationalError as error:
        raise Unavailable("the database", 1.0, str(error).strip().splitlines()[0]) from error
    except psycopg.Error as error:
        said = error.diag.message_primary or type(error).__name__  # never the row
        raise StorageFailed(f"nothing was moved: {table} was refused: {said}") from error


def _batches(here: Connection) -> Iterator[list[tuple[int, str, str]]]:
    for batch in here.execute(_TERMS.execution_options(yield_per=BATCH_ROWS)).partitions():
        yield [(row.rowid, row.title, row.body) for row in batch]


def _send_terms(here: Connection, there: Connection, told: Told) -> int:
    total = here.execute(text("SELECT count(*) FROM chunk_terms")).scalar_one()
    passages = postings = 0
    for rows in _batches(here):
        remember(there, rows)
        passages += len(rows)
        postings += sum(len({*title.split(), *body.split()}) for _, title, body in rows)
        told(FULL_TEXT, passages, total)
    kept = there.execute(_KEPT).one()
    if (kept.passages, kept.postings) != (total, postings):
        raise StorageFailed(f"nothing was moved: full text has {kept.passages} passages there and {total} here")
    return passages
