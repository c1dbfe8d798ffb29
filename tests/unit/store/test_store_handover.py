"""What was committed is copied aside before the log is overwritten, by the writer's own checkpoints, at its restarts and after its death; and
where something could not be copied the chain ends and another begins."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.store import checkpoint, handover
from actors.store.database import connect_sqlite
from actors.store.handover import Handover
from perenne.log_segments import CURRENT, LOST, Segment, begun, content_of, digest_of, waiting
from perenne.messages import commands as c
from tests.unit.store.store_house import StoreHouse


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test says when the log is copied, however long it takes."""
    monkeypatch.setattr(checkpoint, "COPY_S", 3_600.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "log"


@pytest.fixture
def house(tmp_path: Path, folder: Path) -> Iterator[StoreHouse]:
    house = StoreHouse(tmp_path, handover=folder)
    yield house
    house.close()


def of(house: StoreHouse) -> Handover:
    assert house.writer._handover is not None
    return house.writer._handover


def projects(house: StoreHouse, first: int, count: int) -> None:
    for n in range(first, first + count):
        house.do(c.CreateProject, command_id=f"project-{n}", project_id=f"p{n}", name=f"p{n}")


def whole_chain(folder: Path) -> list[Segment]:
    """The segments that wait, which are one chain without a gap, each naming the one before by its digest."""
    found = waiting(folder)
    assert len({each.chain for each in found}) == 1
    before: Segment | None = None
    digest = begun()
    for each in found:
        packed = (folder / each.file_name).read_bytes()
        assert content_of(each, packed).before == digest
        digest = digest_of(packed)
        if before is None:
            assert (each.number, each.how, each.first) == (1, "begins", 1)
        else:
            assert each.number == before.number + 1
            assert each.first == (before.last + 1 if each.salts == before.salts else 1)
            assert each.seq >= before.seq
        before = each
    return found


def test_each_commit_is_copied_once_and_a_second_look_copies_nothing(house: StoreHouse, folder: Path) -> None:
    house.people()
    assert of(house).copy(begin=True)
    assert of(house).copy(begin=True)
    (first,) = whole_chain(folder)
    projects(house, 0, 3)
    assert of(house).copy()
    _, second = whole_chain(folder)
    assert second.seq == house.writer.head > first.seq
    assert second.at_ms == int(house.clock.now() * 1000)


def test_the_log_begins_anew_only_with_all_of_it_copied(
    house: StoreHouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints at every size: of the thread beside the writer, of the writer, and those that cut the log off."""
    monkeypatch.setattr(handover, "SEGMENT_FRAMES", 7)
    house.people()
    assert of(house).copy(begin=True)
    keeper = house.writer._checkpointer
    assert keeper is not None
    connection = connect_sqlite(house.path, create=False, pragmas=("synchronous=FULL",))
    for n in range(12):
        projects(house, n * 5, 5)
        if n % 3 == 0:
            keeper._move(connection)
        if n % 4 == 1:
            keeper._move(connection)
            monkeypatch.setattr(checkpoint, "COPIED_REST_BYTES", 1)
        if n == 8:
            monkeypatch.setattr(checkpoint, "TRUNCATE_BYTES", 1)
    connection.close()
    assert of(house).copy()
    assert len({each.salts for each in whole_chain(folder)}) >= 3
    assert not of(house).lost


def test_a_move_that_was_not_copied_first_is_seen(house: StoreHouse, folder: Path) -> None:
    house.people()
    assert of(house).copy(begin=True)
    projects(house, 0, 2)
    other = connect_sqlite(house.path, create=False, pragmas=())  # such as somebody's own sqlite3
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    other.close()
    projects(house, 2, 1)
    other = connect_sqlite(house.path, create=False, pragmas=())
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    other.close()
    projects(house, 3, 1)
    assert of(house).copy()
    assert of(house).lost
    assert "something else" in (folder / LOST).read_text()
    assert of(house).copy(begin=True)
    assert not of(house).lost
    assert len({each.chain for each in waiting(folder)}) == 2


def test_a_chain_goes_on_over_a_close_and_over_a_death(tmp_path: Path, folder: Path) -> None:
    house = StoreHouse(tmp_path, handover=folder).people()
    assert of(house).copy(begin=True)
    projects(house, 0, 2)
    house.close()
    house = StoreHouse(tmp_path, handover=folder)
    projects(house, 2, 2)
    assert of(house).copy()
    assert [each.how for each in whole_chain(folder)].count("reopened") == 1
    projects(house, 4, 2)  # not copied when it dies
    left = {path: path.read_bytes() for path in house.path.parent.iterdir() if path.suffix != ".lock" and path.is_file()}
    house.close()
    for path in house.path.parent.iterdir():
        if path.is_file():
            path.unlink()
    for path, data in left.items():  # as a kill leaves them: with a log
        if not path.name.endswith("-shm"):
            path.write_bytes(data)
    (folder / handover.SEALED).unlink(missing_ok=True)
    for each in waiting(folder)[-1:]:
        (folder / each.file_name).unlink()
    house = StoreHouse(tmp_path, handover=folder)
    try:
        projects(house, 6, 1)
        assert of(house).copy()
        assert [each.how for each in whole_chain(folder)][-1] == "follows"
        assert waiting(folder)[-1].seq == house.writer.head
    finally:
        house.close()


@pytest.mark.parametrize("touched", ["the database", "the segment", "nothing"])
def test_what_was_written_to_while_it_was_closed_begins_another_chain(tmp_path: Path, folder: Path, touched: str) -> None:
    house = StoreHouse(tmp_path, handover=folder).people()
    assert of(house).copy(begin=True)
    house.close()
    if touched == "the database":
        connection = connect_sqlite(house.path, create=False, pragmas=())
        connection.execute("UPDATE meta SET value = value || '!' WHERE name = 'origin'")
        connection.close()
    if touched == "the segment":
        (folder / waiting(folder)[-1].file_name).unlink()
    house = StoreHouse(tmp_path, handover=folder)
    try:
        assert of(house).copy(begin=True)
        assert of(house).copy(begin=True)  # the first may have ended a chain
        assert len({each.chain for each in waiting(folder)}) == (2 if touched == "the database" else 1)
        assert waiting(folder)[-1].how == ("reopened" if touched == "nothing" else "begins")
    finally:
        house.close()


def test_what_nobody_fetches_is_bounded_and_the_writer_goes_on(house: StoreHouse, folder: Path) -> None:
    house.people()
    of(house)._most = 300_000
    assert of(house).copy(begin=True)
    (chain,) = {each.chain for each in waiting(folder)}
    for n in range(20):
        projects(house, n * 10, 10)
        assert of(house).copy(begin=True)
    assert of(house).lost
    assert "away or full" in (folder / LOST).read_text()
    assert not (folder / CURRENT).exists()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 300_000
    for each in waiting(folder):  # fetched
        (folder / each.file_name).unlink()
    of(house)._most = 64 << 20
    assert of(house).copy(begin=True)
    assert {each.chain for each in whole_chain(folder)} != {chain}


def test_a_full_disk_ends_the_chain_and_no_commit_fails(
    house: StoreHouse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.people()
    assert of(house).copy(begin=True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        projects(house, 0, 2)
        assert of(house).copy()
    assert of(house).lost
    projects(house, 2, 1)
    assert of(house).copy(begin=True)
    assert not list(folder.glob("*.part"))
    assert not of(house).lost


def test_a_disk_that_is_short_of_room_is_not_filled_with_copies(house: StoreHouse, folder: Path) -> None:
    house.people()
    assert of(house).copy(begin=True)
    of(house)._room = lambda: "the disk has 3 MB left"
    projects(house, 0, 2)
    held = {path.name for path in folder.iterdir()}
    for _ in range(2):
        assert of(house).copy(begin=True)
    assert {path.name for path in folder.iterdir()} == held - {CURRENT} | {LOST}
    assert "3 MB left" in (folder / LOST).read_text()
    of(house)._room = lambda: None
    assert of(house).copy(begin=True)
    assert not of(house).lost


def test_a_copy_that_is_under_way_is_not_waited_for(house: StoreHouse) -> None:
    house.people()
    assert of(house).copy(begin=True)
    with of(house)._lock:
        assert of(house).copy(wait=False) is False


def test_without_a_folder_nothing_is_copied(tmp_path: Path, folder: Path) -> None:
    house = StoreHouse(tmp_path).people()
    house.close()
    assert not folder.exists()
