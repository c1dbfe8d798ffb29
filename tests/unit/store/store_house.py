"""A store over a folder of a test's own, and short ways to say what is done to it."""

import functools
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from actors.store.database import writing_engine
from actors.store.migrate import create_tables
from actors.store.mutants import Mutants
from actors.store.reader import ReaderCore
from actors.store.writer import WriterCore
from perenne.clock import ManualClock
from perenne.messages import commands as c

SPACE = "space"
LINES = "b" * 64  # the hash of a file of lines


def unit(*numbers: float) -> bytes:
    vector = np.array(numbers, dtype="<f4")
    return (vector / np.linalg.norm(vector)).tobytes()


def on_sqlite(home: Path) -> str:
    return f"sqlite:///{home / 'store' / 'perenne.db'}"


@functools.cache
def _newest() -> bytes:
    """An SQLite database of this version with nothing in it: its migrations are run once, not for each house."""
    with tempfile.TemporaryDirectory() as folder:
        engine = writing_engine(f"sqlite:///{folder}/perenne.db")
        with engine.begin() as conn:
            create_tables(conn)
        engine.dispose()  # the last connection that goes moves its log into the file
        return Path(folder, "perenne.db").read_bytes()


def begin_with_tables(path: Path) -> None:
    """The database of a new house, unless there is one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(_newest())


database_of = on_sqlite  # a home's; tests/contract puts PostgreSQL's in its place
empty_database = on_sqlite  # one without any table


class StoreHouse:
    """A writer and a reader over `home`; times come from `clock`."""

    def __init__(self, home: Path, mutants: Mutants | None = None, url: str | None = None, **settings: Any) -> None:
        self.home, self.url = home, url or database_of(home)
        self.path = home / "store" / "perenne.db"
        self.clock = ManualClock()
        self._numbers = itertools.count(1)
        if self.url == on_sqlite(home) and database_of is on_sqlite:
            begin_with_tables(self.path)
        self.writer = WriterCore(self.url, clock=self.clock, mutants=mutants, **settings)
        self.writer.open()
        self._reader: ReaderCore | None = None

    def close(self) -> None:
        self.writer.close()
        if self._reader is not None:
            self._reader.close()

    @property
    def reader(self) -> ReaderCore:
        if self._reader is None:
            self._reader = ReaderCore(self.url, threads=1)
            self._reader.open()
        return self._reader

    def send(self, *commands: c.Command) -> tuple[c.Outcome, ...]:
        return self.writer.submit(commands).result(20)

    def do(self, kind: type[c.Command], /, user_id: str = "ana", command_id: str | None = None, **fields: Any) -> Any:
        """One command; its value, or its error raised."""
        id = command_id or f"cmd-{next(self._numbers)}"
        (outcome,) = self.send(kind(command_id=id, user_id=user_id, **fields))
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def system(self, kind: type[c.Command], /, **fields: Any) -> Any:
        return self.do(kind, user_id=c.SYSTEM_USER, **fields)

    def ask(self, question: Any, *args: Any, **kwargs: Any) -> Any:
        return self.reader.ask(question, *args, **kwargs)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Straight from the tables."""

        def asked(conn: Connection) -> list[tuple[Any, ...]]:
            given = sql if conn.dialect.paramstyle == "qmark" else sql.replace("?", "%s")
            return [tuple(row) for row in conn.exec_driver_sql(given, values)]

        return self.ask(asked)

    # What most tests begin with

    def people(self) -> "StoreHouse":
        for name in ("ana", "bob"):
            self.system(c.CreateUser, new_user_id=name, name=name)
            self.do(c.CreateProject, user_id=name, project_id=f"{name}-home", name="home")
        return self

    def lines(self, user_id: str = "ana", project_id: str | None = None, job_id: str | None = None) -> Any:
        """A leased job that stores documents."""
        id = job_id or f"job-{next(self._numbers)}"
        project = project_id or f"{user_id}-home"
        self.do(c.AddJsonLines, user_id=user_id, job_id=id, project_id=project, blob_hash=LINES, size_bytes=1)
        return next(job for job in self.system(c.LeaseJobs, worker="w", limit=100, lease_s=30) if job.id == id)

    def store(self, job: Any, *documents: c.IndexedDocument, **fields: Any) -> Any:
        given = {"lease_s": 30, "project_id": job.project_id, "space": SPACE} | fields
        return self.system(c.StoreDocuments, job_id=job.id, lease_token=job.lease_token, documents=documents, **given)


def passage(id: str, text: str, vector: bytes = b"", **fields: Any) -> c.IndexedDocument:
    """A document of one passage."""
    language = fields.pop("language", None)
    chunk = c.NewChunk(ordinal=0, text=text, start=0, end=len(text), language=language)
    given = {"external_id": id, "title": f"title of {id}"} | fields
    return c.IndexedDocument(document_id=f"doc-{id}", text=text, chunks=(chunk,), vectors=vector, **given)
