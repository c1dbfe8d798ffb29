"""Files that a disk gives back shorter than they were, or with a bit turned: the log of the database, what was noted of it, and the
files of an index snapshot. Each is found and named, or does no harm; nothing ever answers as if it were whole when it is not."""

import hashlib
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.index.shard import Shard
from actors.store.acknowledged import note_path
from actors.store.database import connect_sqlite
from actors.store.writer import WriterCore
from perenne.errors import StorageFailed
from tests.chaos.core_checks import MODEL, QUERIES
from tests.chaos.core_process import beginnings, some
from tests.chaos.core_work import ANSWER_S, LIMITS, SPEC, commands, database_of
from tests.chaos.recorder import Recorder

PROMISE = "a damage is named, and what lost something acknowledged is not written to; or it does no harm: never another answer"
FRAME_BYTES = 24 + 4096  # of the log: its header and a page
FLIPS = {"log": 500, "note": 100, "snapshot": 400}  # single bits turned, at seeded places
IN_CI = {"cut": 30, "log": 70, "note": 10, "snapshot": 200}


@dataclass
class Left:
    """What kills of a writer left: with all commands acknowledged, and with the last one not yet; and what each holds."""

    last: Path
    before_last: Path
    rows: str
    rows_before: str


def database_in(folder: Path) -> Path:
    return folder / "store" / "perenne.db"


def log_in(folder: Path) -> Path:
    return folder / "store" / "perenne.db-wal"


def rows_of(folder: Path) -> str:
    """A hash of all rows, but for the epoch, which each opening raises."""
    digest = hashlib.sha256()
    with closing(connect_sqlite(database_in(folder), create=False, pragmas=())) as raw:
        tables = [row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        for table in tables:
            for row in raw.execute(f'SELECT * FROM "{table}" ORDER BY 1'):
                if table != "meta" or row[0] != "epoch":
                    digest.update(repr((table, row)).encode())
    return digest.hexdigest()


def killed(home: Path, to: Path) -> Path:
    """What is on the disk after a kill at this moment."""
    shutil.copytree(home, to, ignore=shutil.ignore_patterns("*-shm"))
    return to


def opened(folder: Path) -> str:
    """The rows once the writer opened it; or raises."""
    core = WriterCore(database_of(folder))
    core.open()
    core.close()
    return rows_of(folder)


def again(left: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    return killed(left, to)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("left")
    home = beginnings("writer", folder / "home")
    core = WriterCore(database_of(home))
    core.open()
    *most, last = commands()
    try:
        for command in most:
            assert core.submit((command,)).result(ANSWER_S)[0].error is None
        noted = note_path(database_in(home)).read_bytes()
        unwritten = killed(home, folder / "unwritten")
        assert core.submit((last,)).result(ANSWER_S)[0].error is None
        whole = killed(home, folder / "last")
        before = killed(home, folder / "before_last")
        note_path(database_in(before)).write_bytes(noted)  # killed between the commit and its note: nobody was answered
    finally:
        core.close()
    rows, rows_before = opened(killed(whole, folder / "a")), opened(unwritten)
    assert rows != rows_before
    return Left(whole, before, rows, rows_before)


def turned(path: Path, place: int) -> None:
    """One bit is another."""
    with path.open("r+b") as file:
        file.seek(place // 8)
        byte = file.read(1)[0]
        file.seek(place // 8)
        file.write(bytes([byte ^ (1 << place % 8)]))


def bits(path: Path, count: int) -> list[int]:
    return random.Random(path.name).sample(range(8 * path.stat().st_size), count)


@pytest.mark.timeout(1800)
def test_a_log_cut_at_any_byte_of_its_last_record_is_refused_or_was_not_acknowledged(
    left: Left, recorder: Recorder, tmp_path: Path
) -> None:
    size = log_in(left.last).stat().st_size
    for cut in some(range(1, FRAME_BYTES + 1), IN_CI["cut"], seed="cut"):
        folder, begun = again(left.last, tmp_path / "cut"), time.monotonic()
        with log_in(folder).open("r+b") as file:
            file.truncate(size - cut)
        with pytest.raises(StorageFailed, match="lost what was acknowledged"):
            opened(folder)
        recorder.round("the log is cut in its last record", PROMISE, time.monotonic() - begun)

        folder, begun = again(left.before_last, tmp_path / "cut"), time.monotonic()
        with log_in(folder).open("r+b") as file:
            file.truncate(size - cut)
        assert opened(folder) == left.rows_before, f"{cut} bytes cut off"
        recorder.round("the log is cut in a record that nobody was told of", PROMISE, time.monotonic() - begun)
    assert opened(again(left.before_last, tmp_path / "cut")) == left.rows, "the whole one can't be opened"


def test_a_bit_turned_in_the_log_is_refused(left: Left, recorder: Recorder, tmp_path: Path) -> None:
    for place in some(bits(log_in(left.last), FLIPS["log"]), IN_CI["log"], seed="log"):
        folder, begun = again(left.last, tmp_path / "turned"), time.monotonic()
        turned(log_in(folder), place)
        with pytest.raises(StorageFailed, match="lost what was acknowledged"):
            opened(folder)
        recorder.round("a bit is turned in the log", PROMISE, time.monotonic() - begun)


def test_without_the_note_a_bit_turned_in_the_log_loses_what_was_acknowledged_unseen(left: Left, tmp_path: Path) -> None:
    """Which is what SQLite does, and that the tests above can fail."""
    for place in bits(log_in(left.last), 5):
        folder = again(left.last, tmp_path / "turned")
        turned(log_in(folder), place)
        note_path(database_in(folder)).unlink()
        assert opened(folder) != left.rows


def test_a_bit_turned_in_the_note_does_no_harm(left: Left, recorder: Recorder, tmp_path: Path) -> None:
    for place in some(bits(note_path(database_in(left.last)), FLIPS["note"]), IN_CI["note"], seed="note"):
        folder, begun = again(left.last, tmp_path / "turned"), time.monotonic()
        turned(note_path(database_in(folder)), place)
        assert opened(folder) == left.rows
        recorder.round("a bit is turned in the note of what was acknowledged", PROMISE, time.monotonic() - begun)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a shard with all of its files: a base, a graph, codes, a tail."""
    folder = tmp_path_factory.mktemp("snapshot") / "shard"
    core = Shard(folder, SPEC, limits=LIMITS)
    core.open()
    core.apply(MODEL.feed(0, 20))
    core.merge()
    while core.link():
        pass
    core.apply(MODEL.feed(core.applied))
    core.snapshot()
    core.close()
    assert len(list(folder.iterdir())) >= 4
    return folder


def damaged_shards(snapshot: Path, scratch: Path, cases: list[tuple[str, int]]) -> Iterator[tuple[str, int, Path]]:
    for name, place in cases:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(snapshot, scratch)
        yield name, place, scratch / name


def put_right(folder: Path) -> tuple[bool, float]:
    """Whether the damage was found; it answers exactly either way once it followed the feed. And how long that took."""
    begun = time.monotonic()
    core = Shard(folder, SPEC, limits=LIMITS)
    core.open()
    core.apply(MODEL.feed(core.applied))
    for query in QUERIES:
        assert core.search(query) == MODEL.search(query), query
    core.close()
    reason = folder / "quarantine" / "reason.txt"
    return reason.exists() and bool(reason.read_text().strip()), time.monotonic() - begun


def test_a_bit_turned_in_a_snapshot_is_found_and_the_shard_made_anew(
    snapshot: Path, recorder: Recorder, tmp_path: Path
) -> None:
    files = sorted(path for path in snapshot.iterdir() if path.is_file())
    cases = [(path.name, place) for path in files for place in bits(path, FLIPS["snapshot"] // len(files))]
    for name, place, damaged in damaged_shards(snapshot, tmp_path / "shard", list(some(cases, IN_CI["snapshot"], seed="bits"))):
        turned(damaged, place)
        found, took_s = put_right(tmp_path / "shard")
        assert found, f"bit {place} of {name}"
        recorder.round("a bit is turned in a snapshot", PROMISE, took_s)
    assert put_right(shutil.copytree(snapshot, tmp_path / "whole"))[0] is False, "a whole one is put aside"


@pytest.mark.timeout(900)
def test_a_snapshot_cut_at_any_byte_of_its_last_record_is_found_and_the_shard_made_anew(
    snapshot: Path, recorder: Recorder, tmp_path: Path
) -> None:
    files = sorted(path for path in snapshot.iterdir() if path.is_file())
    cases = [(path.name, cut) for path in files for cut in range(1, min(512, path.stat().st_size) + 1)]
    for name, cut, damaged in damaged_shards(snapshot, tmp_path / "shard", list(some(cases, IN_CI["snapshot"], seed="cuts"))):
        with damaged.open("r+b") as file:
            file.truncate(damaged.stat().st_size - cut)
        found, took_s = put_right(tmp_path / "shard")
        assert found, f"{cut} bytes cut off {name}"
        recorder.round("a file of a snapshot is cut", PROMISE, took_s)
