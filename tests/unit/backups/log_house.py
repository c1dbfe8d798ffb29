"""A database with a writer's checkpoints, a repository, and what was in the database at each change: for tests of moments."""

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import Any

from actors.backups import contents, moments
from actors.backups.moments import Target
from actors.backups.repository import Repository
from actors.backups.shipping import Shipper
from actors.store import cutting
from actors.store.checkpoint import Checkpointer
from actors.store.database import connect_sqlite
from actors.store.handover import Handover
from actors.store.replaying import Moment, replay
from perenne.log_segments import FOLDER
from perenne.settings import load_settings

TABLES = ("changes", "meta", "things")


def digest(connection: Any) -> str:
    """All rows of all tables."""
    found = hashlib.sha256()
    for name in TABLES:
        for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1"):
            found.update(repr(row).encode())
    return found.hexdigest()


class LogHouse:
    """Each `commit` is one transaction, of several changes perhaps; `states` are the digests by the feed's number."""

    EPOCH = True  # each start writes something that the feed doesn't count, as a writer does

    def __init__(self, home: Path, passphrase: str | None = None) -> None:
        self.home, self.path = home, home / "store" / "perenne.db"
        self.settings = load_settings({"PERENNE_HOME": str(home)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.folder = self.path.parent / FOLDER
        self.passphrase = passphrase
        self.target = home / "backups"
        self.seq = 0
        self.now_ms = 1_000_000
        self.states: dict[int, str] = {}
        self.times: dict[int, int] = {}
        self.shipper = Shipper(self.settings, self.repository)
        self.open()

    def repository(self) -> Repository:
        return Repository.open(str(self.target), self.passphrase, create=True)

    def open(self) -> None:
        self.handover = Handover(self.path, self.folder)
        self.handover.begin()
        self.connection = connect_sqlite(
            self.path, create=True, pragmas=("journal_mode=WAL", "synchronous=OFF", "wal_autocheckpoint=0")
        )
        self.connection.execute("CREATE TABLE IF NOT EXISTS meta (name PRIMARY KEY, value)")
        self.connection.execute("CREATE TABLE IF NOT EXISTS changes (seq INTEGER PRIMARY KEY, hlc)")
        self.connection.execute("CREATE TABLE IF NOT EXISTS things (id INTEGER PRIMARY KEY, data)")
        self.connection.execute("INSERT OR IGNORE INTO meta VALUES ('origin', 'here')")
        if self.EPOCH:
            self.connection.execute("INSERT INTO meta VALUES ('epoch' || random(), 1)")
        self.states[self.seq] = digest(self.connection)  # what every writer does at its start is of the same number
        self.keeper = Checkpointer(self.path, self.handover)
        self.moving = connect_sqlite(self.path, create=False, pragmas=("synchronous=OFF",))
        self.handover.copy(begin=True)

    def close(self, *, seal: bool = True) -> None:
        self.keeper.close()
        self.connection.close()
        self.moving.close()
        self.handover.close(seal=seal)

    def commit(self, *changes: int) -> None:
        """Each change writes or removes the thing of that number."""
        self.now_ms += 1_000
        self.connection.execute("BEGIN IMMEDIATE")
        for number in changes:
            self.seq += 1
            if number % 3:
                data = bytes([number % 251]) * (number * 137 % 9_000)
                self.connection.execute("INSERT OR REPLACE INTO things VALUES (?, ?)", (number, data))
            else:
                self.connection.execute("DELETE FROM things WHERE id = ?", (number + 1,))
            self.connection.execute("INSERT INTO changes VALUES (?, ?)", (self.seq, self.now_ms << 16))
        self.connection.execute("COMMIT")
        self.states[self.seq] = digest(self.connection)
        self.times[self.seq] = self.now_ms

    def aside(self) -> None:
        """Move the log as the checkpointer's thread does."""
        self.keeper._move(self.moving)

    def ship(self) -> None:
        while self.shipper.once():
            pass

    def backup(self) -> str:
        """As `Keeper` makes one, of the database alone."""
        scratch = self.home / "scratch"
        scratch.mkdir(exist_ok=True)
        copy = scratch / "perenne.db"
        place, _ = cutting.copy_pages(self.path, copy)
        with contextlib.closing(connect_sqlite(copy, create=False, pragmas=("query_only=ON",))) as connection:
            (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()
        cutting._without_log(copy)
        with self.repository() as repository, repository.begin() as writer:
            writer.add_file("database/perenne.db", copy)
            notes = {moments.NOTE: place, moments.AT: str(self.now_ms / 1000)}
            return writer.commit(contents.Label(kind="manual", database="sqlite", seq=seq, origin="here", notes=notes)).id

    def restore(self, target: Target, backup_id: str | None = None) -> tuple[Moment, str]:
        """Where a restore to that moment leads, and what is in the database then."""
        folder = self.home / "restored"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        folder.mkdir()
        with self.repository() as repository:
            run = moments.plan(repository.list(), repository.log.segments(), target, backup_id)
            copy = folder / "perenne.db"
            entry = repository.manifest(run.backup.id).entry("database/perenne.db")
            assert entry is not None
            repository.restore_file(entry, copy)
            logs = moments.unpack(repository.log, run.segments, folder / "log")
        moment = replay(copy, logs, run.frame, run.backup.cut.seq, to_seq=target.seq, to_ms=target.at_ms)
        assert not copy.with_name("perenne.db-wal").exists()
        with contextlib.closing(connect_sqlite(copy, create=False, pragmas=("query_only=ON",))) as connection:
            return moment, digest(connection)
