"""A database copied as it is at one moment, looked at again, and brought back."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from actors.store import copying
from actors.store.cutting import check_copy, cut
from actors.store.database import connect_sqlite
from actors.store.restored import check_restorable, put_in_place
from perenne.errors import Conflict, Unavailable
from perenne.messages import commands as c
from perenne.messages.backups import Cut
from tests.unit.store import store_house
from tests.unit.store.store_house import StoreHouse, passage, unit


def filled(home: Path, count: int = 30) -> StoreHouse:
    house = StoreHouse(home).people()
    job = house.lines()
    house.store(
        job,
        *(
            passage(f"{n}", f"number{n} harbour lantern {'even' if n % 2 else 'uneven'} meadow", unit(n + 1, 30 - n, 3))
            for n in range(count)
        ),
    )
    return house


@pytest.fixture
def house(tmp_path: Path):
    house = filled(tmp_path / "home")
    yield house
    house.close()


def test_a_cut_names_its_moment_and_what_was_in_it(house: StoreHouse, tmp_path: Path) -> None:
    made = cut(house.url, tmp_path / "copy")
    assert made.seq == house.writer.head
    assert made.counts["documents"] == made.counts["chunks"] == made.counts["vectors"] == 30
    assert made.counts["users"] == 2
    assert made.texts
    assert all(each.ids for each in made.texts)
    assert len(made.vectors) == 30
    assert all(each.ids[0] == each.chunk_id for each in made.vectors)
    assert made.blobs == (store_house.LINES,)
    assert check_restorable(house.url, tmp_path / "copy", made).faults == ()
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {made.file}


def test_a_cut_is_of_one_moment_while_writing_goes_on(house: StoreHouse, tmp_path: Path) -> None:
    ended = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not ended.is_set():
            id = f"w{len(written)}"
            house.do(c.CreateProject, project_id=id, name=id, command_id=id)
            written.append(house.writer.head)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        cuts = [cut(house.url, tmp_path / f"copy{n}") for n in range(5)]
    finally:
        ended.set()
        writing.join()
    assert written
    for n, made in enumerate(cuts):
        checked = check_copy(f"sqlite:///{tmp_path / f'copy{n}' / made.file}", made)
        assert checked.faults == ()
        assert (
            made.counts["projects"] - 2 == made.counts["commands"] - cuts[0].counts["commands"] + cuts[0].counts["projects"] - 2
        )
    assert cuts[0].seq <= cuts[-1].seq


def _spoil(path: Path, sql: str) -> None:
    connection = connect_sqlite(path, create=False, pragmas=("foreign_keys=OFF",))
    connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM documents WHERE id = 'doc-3'", "names one of documents"),
        ("DELETE FROM jobs", "jobs has 0 rows"),
        ("DELETE FROM changes WHERE seq = (SELECT max(seq) FROM changes)", "the feed ends at"),
        ("UPDATE vectors SET data = (SELECT data FROM vectors WHERE chunk_id = 1) WHERE chunk_id = 20", "neighbours"),
        ("UPDATE chunk_terms SET body = 'nothing' WHERE rowid = 1", "finds other passages"),
    ],
)
def test_a_copy_that_is_not_what_was_recorded_is_found(house: StoreHouse, tmp_path: Path, sql: str, said: str) -> None:
    made = cut(house.url, tmp_path / "copy")
    _spoil(tmp_path / "copy" / made.file, sql)
    assert said in "; ".join(check_restorable(house.url, tmp_path / "copy", made).faults)


def test_a_copy_with_a_broken_page_is_found(house: StoreHouse, tmp_path: Path) -> None:
    made = cut(house.url, tmp_path / "copy")
    copy = tmp_path / "copy" / made.file
    with copy.open("r+b") as file:
        file.seek(copy.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 512)
    assert check_restorable(house.url, tmp_path / "copy", made).faults


def test_a_restored_database_has_its_rows_and_an_origin_of_its_own(house: StoreHouse, tmp_path: Path) -> None:
    made = cut(house.url, tmp_path / "copy")
    url = store_house.on_sqlite(tmp_path / "other")
    assert put_in_place(url, tmp_path / "copy" / made.file, made, force=False) is None
    again = StoreHouse(tmp_path / "other", url=url)
    try:
        assert again.writer.head == made.seq
        (origin,) = again.rows("SELECT value FROM meta WHERE name = 'origin'")[0]
        assert origin != made.origin
        assert len(again.rows("SELECT id FROM documents")) == 30
        again.do(c.CreateProject, project_id="later", name="later", command_id="later")
        assert again.rows("SELECT origin, origin_seq FROM changes ORDER BY seq DESC LIMIT 1") == [(origin, 1)]
    finally:
        again.close()


def test_a_database_that_is_there_is_only_replaced_when_told_to_and_kept(house: StoreHouse, tmp_path: Path) -> None:
    made = cut(house.url, tmp_path / "copy")
    copy = tmp_path / "copy" / made.file
    with pytest.raises(Conflict, match="--force"):
        put_in_place(house.url, copy, made, force=False)
    with pytest.raises(Unavailable, match="writes to it already"):  # the instance runs
        put_in_place(house.url, copy, made, force=True)
    house.do(c.CreateProject, project_id="after", name="after the cut")
    house.close()
    kept = put_in_place(house.url, copy, made, force=True)
    assert kept is not None
    old = connect_sqlite(kept, create=False, pragmas=("query_only=ON",))
    assert old.execute("SELECT count(*) FROM projects WHERE id = 'after'").fetchone() == (1,)
    old.close()
    new = connect_sqlite(house.path, create=False, pragmas=("query_only=ON",))
    assert new.execute("SELECT count(*) FROM projects WHERE id = 'after'").fetchone() == (0,)
    new.close()


ASKS = ("os.rename", "os.link", "os.remove", "os.chmod", "open", "sqlite3.connect", "os.mkdir")


def _ends_at(n: int, work: Callable[[], object]) -> bool:
    """Do it in a child that is killed at the n-th thing that it asks of the file system; whether it got to its end."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def hook(event: str, _: object) -> None:
            nonlocal count
            if event in ASKS:
                count += 1
                if count == n:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL), status
    return status == 0


def test_a_restore_killed_at_any_point_leaves_the_old_database_or_the_new_one(tmp_path: Path) -> None:
    house = filled(tmp_path / "home", 5)
    made = cut(house.url, tmp_path / "copy")
    house.do(c.CreateProject, project_id="after", name="after the cut")
    kept_copy, live = (tmp_path / "copy" / made.file).read_bytes(), house.path
    log = live.with_name(live.name + "-wal").read_bytes()
    assert log  # what was written last is in the log alone
    main = live.read_bytes()
    house.close()
    outcomes: list[str] = []
    n = 0
    while True:
        n += 1
        for left in live.parent.iterdir():
            left.unlink()
        live.write_bytes(main)
        live.with_name(live.name + "-wal").write_bytes(log)
        (tmp_path / "copy" / made.file).write_bytes(kept_copy)
        ended = _ends_at(n, lambda: put_in_place(house.url, tmp_path / "copy" / made.file, made, force=True))
        connection = connect_sqlite(live, create=False, pragmas=())
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (after,) = connection.execute("SELECT count(*) FROM projects WHERE id = 'after'").fetchone()
        connection.close()
        outcomes.append("old" if after else "new")
        if ended:
            break
    assert outcomes[-1] == "new"
    assert outcomes[0] == "old"
    assert outcomes == sorted(outcomes, reverse=True), outcomes  # never back and forth


def test_a_copy_is_made_by_a_process_of_its_own(house: StoreHouse, tmp_path: Path) -> None:
    made = copying.cut_apart(house.url, tmp_path / "copy")
    assert isinstance(made, Cut)
    assert copying.check_apart(house.url, tmp_path / "copy", made).faults == ()
    wrong = replace(made, counts=made.counts | {"documents": 31})
    assert "documents has 30 rows, 31 were recorded" in copying.check_apart(house.url, tmp_path / "copy", wrong).faults


def test_what_a_copy_fails_of_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        copying.cut_apart(f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "copy")
