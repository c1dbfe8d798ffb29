"""Statements of the hot path, compiled once and handed to the driver as they are: SQLAlchemy's own execution costs more than
SQLite's work on a row or two."""

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ClauseElement

ROWS_AT_ONCE = 64  # that one INSERT carries


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    order: Sequence[str] | None  # None: the driver takes parameters by name
    constants: dict[str, Any]
    as_given: bool  # the values go in the order in which they come
    row: Any  # a named tuple for what comes back


class Prepared:
    """A Core statement with its parameters in a fixed order. Values go to the driver as they are: text, numbers, bytes, None.
    Raises what SQLAlchemy would. Meant for a connection with an open transaction."""

    def __init__(self, statement: ClauseElement, *names: str) -> None:
        self._statement, self._names = statement, names
        self._by_dialect: dict[str, _Compiled] = {}

    def _for(self, conn: Connection) -> _Compiled:
        found = self._by_dialect.get(conn.dialect.name)
        if found is None:
            compiled: Any = self._statement.compile(dialect=conn.dialect, column_keys=list(self._names))
            constants = {name: value for name, value in compiled.params.items() if name not in self._names}
            order: Sequence[str] | None = compiled.positiontup if compiled.positional else None
            columns = [column.key for column in getattr(self._statement, "selected_columns", ())]
            found = self._by_dialect[conn.dialect.name] = _Compiled(
                sql=str(compiled),
                order=order,
                constants=constants,
                as_given=order is not None and not constants and tuple(order) == self._names,
                row=namedtuple("Row", columns, rename=True) if columns else None,
            )
        return found

    def _values(self, compiled: _Compiled, values: tuple[Any, ...]) -> Any:
        if compiled.as_given:
            return values
        named = dict(zip(self._names, values, strict=True)) | compiled.constants
        return named if compiled.order is None else tuple(named[name] for name in compiled.order)

    def _wrapped(self, conn: Connection, sql: str, error: Exception) -> BaseException:
        driver: Any = conn.dialect.loaded_dbapi
        if not isinstance(error, driver.Error):
            return error
        said: Any = error
        lost = conn.dialect.is_disconnect(said, conn.connection.dbapi_connection, None)
        return DBAPIError.instance(sql, None, error, driver.Error, connection_invalidated=lost, dialect=conn.dialect)

    def first(self, conn: Connection, *values: Any) -> Any:
        """The first row, None when there is none."""
        compiled = self._for(conn)
        cursor = conn.connection.cursor()
        try:
            cursor.execute(compiled.sql, self._values(compiled, values))
            row = cursor.fetchone()
        except Exception as error:
            raise self._wrapped(conn, compiled.sql, error) from error
        finally:
            cursor.close()
        return None if row is None else compiled.row._make(row)

    def all(self, conn: Connection, *values: Any) -> list[Any]:
        """Every row."""
        compiled = self._for(conn)
        cursor = conn.connection.cursor()
        try:
            cursor.execute(compiled.sql, self._values(compiled, values))
            rows = cursor.fetchall()
        except Exception as error:
            raise self._wrapped(conn, compiled.sql, error) from error
        finally:
            cursor.close()
        return list(map(compiled.row._make, rows))

    def run(self, conn: Connection, *values: Any) -> None:
        """Execute once."""
        self._execute(conn, "execute", values)

    def many(self, conn: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute for each row. An INSERT carries many rows at once: half of the time of as many that the driver steps through."""
        if isinstance(self._statement, Insert) and self._for(conn).as_given:
            for at in range(0, len(rows), ROWS_AT_ONCE):
                self._insert(conn, rows[at : at + ROWS_AT_ONCE])
        elif rows:
            self._execute(conn, "executemany", rows)

    def _insert(self, conn: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        compiled = self._for(conn)
        head, values, row = compiled.sql.rpartition(" VALUES ")
        sql = f"{head}{values}{', '.join([row] * len(rows))}"
        self._call(conn, "execute", sql, tuple(chain.from_iterable(rows)))

    def _execute(self, conn: Connection, how: str, given: Any) -> None:
        compiled = self._for(conn)
        if how == "execute":
            values = self._values(compiled, given)
        else:
            values = given if compiled.as_given else [self._values(compiled, row) for row in given]
        self._call(conn, how, compiled.sql, values)

    def _call(self, conn: Connection, how: str, sql: str, values: Any) -> None:
        cursor = conn.connection.cursor()
        try:
            getattr(cursor, how)(sql, values)
        except Exception as error:
            raise self._wrapped(conn, sql, error) from error
        finally:
            cursor.close()
