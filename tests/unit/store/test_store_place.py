"""Where the database may be, and how it is brought to a new version."""

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from actors.blobs.files import BlobFiles
from actors.blobs.layout import Layout
from actors.store.database import check_place, connect_sqlite, writing_engine
from actors.store.filesystem import network_filesystem, type_of
from actors.store.lock import WriterLock
from actors.store.migrate import MIGRATIONS, held_revision, migrate, wanted_revision
from actors.store.mutants import mutants_of
from actors.store.reader import ReaderCore
from actors.store.tables import metadata
from actors.store.writer import WriterCore
from perenne.errors import ConfigurationError, StorageFailed, Unavailable
from perenne.messages import commands as c
from perenne.settings import load_settings
from tests.unit.store.store_house import StoreHouse

MOUNTS = """/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb /home/ana/local\\040disk xfs rw 0 0
host /mnt/share fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib", "ext4"),
        ("/home/ana", "nfs4"),
        ("/homework", "ext4"),
        ("/home/ana/local disk/x", "xfs"),
        ("/mnt/share", "fuse.sshfs"),
    ],
)
def test_the_deepest_mount_says_what_a_folder_is_on(path: str, kind: str) -> None:
    assert type_of(path, MOUNTS) == kind


def test_a_network_file_system_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path}/far nfs4 rw 0 0\n")
    assert network_filesystem(tmp_path / "far" / "store", mounts) == "nfs4"
    assert network_filesystem(tmp_path / "near", mounts) is None
    assert network_filesystem(tmp_path, tmp_path / "absent") is None
    monkeypatch.setattr("actors.store.database.network_filesystem", lambda _: "nfs4")
    with pytest.raises(ConfigurationError, match="network file system"):
        check_place(tmp_path / "perenne.db")


def test_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    engine = writing_engine(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(engine, tmp_path / "a.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        found = [each for each in compare_metadata(context, metadata) if "chunk_terms" not in str(each)]
    assert found == []


def later(tmp_path: Path, change: str) -> Path:
    """The migrations with one more."""
    scripts = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    head = wanted_revision()
    (scripts / "versions" / "9999_next.py").write_text(
        f"from alembic import op\nrevision = '9999'\ndown_revision = {head!r}\nbranch_labels = depends_on = None\n"
        f"def upgrade():\n    op.execute('CREATE TABLE novelty (id INTEGER)')\n    {change}\n"
    )
    return scripts


def test_a_migration_comes_after_a_copy_and_keeps_what_was_there(tmp_path: Path) -> None:
    house = StoreHouse(tmp_path).people()
    house.close()
    copy = migrate(writing_engine(house.url), house.path, later(tmp_path, "pass"))
    assert copy is not None
    assert copy.is_file()
    assert held_revision(writing_engine(f"sqlite:///{copy}")) == wanted_revision()
    engine = writing_engine(house.url)
    assert held_revision(engine) == "9999"
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM users").scalar() == 2


def test_a_failing_migration_is_loud_and_leaves_the_file_whole(tmp_path: Path) -> None:
    house = StoreHouse(tmp_path).people()
    house.close()
    engine = writing_engine(house.url)
    with pytest.raises(StorageFailed, match="as it was"):
        migrate(engine, house.path, later(tmp_path, "op.execute('SELECT * FROM nowhere')"))
    assert held_revision(engine) == wanted_revision()
    with engine.connect() as connection:
        tables = {row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master")}
    assert "novelty" not in tables
    engine.dispose()
    house.writer.open()
    assert house.rows("SELECT count(*) FROM users") == [(2,)]


def test_copies_that_fail_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a full disk each of the lifecycle's tries left half a copy under a name of its own, which later counted as one.
    house = StoreHouse(tmp_path).people()
    house.close()

    def half_a_copy(_: Path, copy: Path) -> None:
        copy.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("actors.store.migrate.copy_database", half_a_copy)
    scripts = later(tmp_path, "pass")
    for _ in range(2):
        with pytest.raises(StorageFailed, match=r"left as it is: .*no space left"):
            migrate(writing_engine(house.url), house.path, scripts)
    assert list(house.path.parent.glob("*-before*")) == []
    assert held_revision(writing_engine(house.url)) == wanted_revision()


def test_a_lock_that_could_not_be_signed_is_free_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The disk was full as the writer started: its own lock, held by nobody who knew, kept it out until the process was killed.
    lock = WriterLock(tmp_path / "lock")
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", raises(OSError(errno.ENOSPC, "no space left on device")))
        with pytest.raises(OSError, match="no space left"):
            lock.acquire()
    other = WriterLock(tmp_path / "lock")
    other.acquire()
    other.release()


def raises(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def test_a_writer_that_could_not_open_opens_when_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = WriterCore(f"sqlite:///{tmp_path / 'store' / 'perenne.db'}")
    with monkeypatch.context() as full:
        full.setattr("actors.store.writer.Checkpointer", raises(RuntimeError("can't start new thread")))
        with pytest.raises(RuntimeError):
            writer.open()
    writer.open()
    writer.close()


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    house = StoreHouse(tmp_path)
    house.close()
    migrate(writing_engine(house.url), house.path, later(tmp_path, "pass"))
    with pytest.raises(ConfigurationError, match="9999"):
        house.writer.open()
    with pytest.raises(Unavailable):
        ReaderCore(house.url).open()


def test_a_reader_waits_for_the_writer_and_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        ReaderCore(f"sqlite:///{tmp_path / 'store' / 'perenne.db'}").open()
    assert not (tmp_path / "store").exists()
    house = StoreHouse(tmp_path)

    def write(conn: Any) -> None:
        conn.exec_driver_sql("DELETE FROM meta")

    with pytest.raises(Unavailable, match="readonly"):
        house.ask(write)
    assert house.rows("SELECT count(*) FROM meta WHERE name = 'epoch'") == [(1,)]
    house.close()


def test_the_log_is_moved_into_the_database_and_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.store.checkpoint.PASSIVE_BYTES", 100_000)
    monkeypatch.setattr("actors.store.checkpoint.TRUNCATE_BYTES", 400_000)
    monkeypatch.setattr("actors.store.checkpoint.CUT_WAIT_MS", 20_000)  # a move that is under way on a slow disk is waited for
    house = StoreHouse(tmp_path).people()
    longest = 0
    for n in range(40):
        house.do(c.PostMessage, conversation_id="c", message_id=f"m{n}", reply_id=f"r{n}", run_id=f"u{n}", text="x" * 100_000)
        longest = max(longest, house.writer.log_bytes)
    assert longest < 1_200_000 < house.path.stat().st_size
    house.close()


def test_a_log_that_was_moved_is_not_moved_again_at_each_small_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log's file keeps its length: looked at alone, every write after the first 8 MB had the disk flushed twice."""
    monkeypatch.setattr("actors.store.checkpoint.PASSIVE_BYTES", 1_000_000)
    monkeypatch.setattr("actors.store.checkpoint.LOOK_S", 0.0)
    house = StoreHouse(tmp_path).people()
    log = connect_sqlite(house.path, create=False, pragmas=())

    def unmoved() -> int:
        _, frames, moved = log.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
        return int(frames - moved)

    def post(name: str, text: str) -> None:
        house.do(c.PostMessage, conversation_id="c", message_id=f"m{name}", reply_id=f"r{name}", run_id=f"u{name}", text=text)

    for n in range(10):
        post(f"long{n}", "x" * 150_000)
    log.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert house.writer.log_bytes > 1_000_000
    for n in range(8):
        post(str(n), "short")
    added = unmoved()
    assert added > 0
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert unmoved() == added, "what small writes add is left in the log"
    log.close()
    house.close()


def test_mutants_are_inert_unless_the_instance_is_there_to_be_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNE_MUTANT", "no_dedup")
    quiet = load_settings({"PERENNE_HOME": "/nowhere"})
    assert not mutants_of(quiet).no_dedup
    assert mutants_of(quiet.model_copy(update={"chaos": True})).no_dedup


def test_the_folders_that_are_made_are_durable_before_anything_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The database's own folder was new in a folder that nobody synced: a power cut could take all of it.
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    home = tmp_path / "home"
    check_place(home / "store" / "perenne.db")
    assert {home, tmp_path} <= set(synced)
    synced.clear()
    BlobFiles(Layout(home / "blobs")).open()
    assert {home / "blobs", home} <= set(synced)
