"""What the writer takes on a disk that is nearly full, and while the instance stops."""

import inspect
from pathlib import Path

import pytest

from actors.store.handlers import HANDLERS
from actors.store.refusing import BEGINNING, GROWING, Refusal, merged
from perenne import room as module
from perenne.errors import StorageFailed, Unavailable
from perenne.messages import commands as c
from perenne.messages.commands import Outcome
from perenne.room import Room, measured, reserve_of
from perenne.settings import DiskSettings

MB = 1 << 20
ADD = c.CreateProject(command_id="a", user_id="u", project_id="p", name="n")
DELETE = c.DeleteProject(command_id="b", user_id="u", project_id="p")


def test_what_ends_or_frees_is_taken_on_a_full_disk_and_what_is_new_is_not() -> None:
    refusal = Refusal(lambda: "the disk is nearly full")
    refused = refusal.errors((ADD, DELETE))
    assert isinstance(refused[0], StorageFailed)
    assert list(refused) == [0]
    outcomes = merged((ADD, DELETE), refused, (Outcome(command_id="b", value=1, seq=7),), 7)
    assert [(o.command_id, o.error is None) for o in outcomes] == [("a", False), ("b", True)]


def test_with_room_nothing_is_refused() -> None:
    assert Refusal(lambda: None).errors((ADD, DELETE)) == {}


def test_while_it_stops_new_work_may_come_again_later_and_what_is_parsed_is_stored() -> None:
    refusal = Refusal(lambda: None)
    refusal.stopping = True
    (error,) = refusal.errors((ADD, DELETE)).values()
    assert isinstance(error, Unavailable)
    assert error.retry_after_s >= 1
    assert c.StoreDocuments not in BEGINNING
    assert c.LeaseJobs in BEGINNING


def test_what_frees_room_or_ends_work_is_never_refused() -> None:
    known = {kind for _, kind in inspect.getmembers(c, inspect.isclass)} & set(HANDLERS)
    assert known >= GROWING
    ending = ("Delete", "Revoke", "Unlink", "Remove", "Cancel", "Stop", "Finish", "Release", "Renew", "Append")
    assert not [kind.__name__ for kind in GROWING | BEGINNING if kind.__name__.startswith(ending)]


# Room


@pytest.mark.parametrize(
    ("total", "reserve"), [(10_000 * MB, 256 * MB), (100_000 * MB, 1000 * MB), (10_000_000 * MB, 2048 * MB)]
)
def test_a_share_of_the_disk_stays_free_within_bounds(total: int, reserve: int) -> None:
    assert reserve_of(DiskSettings(), total) == pytest.approx(reserve, rel=0.01)
    assert reserve_of(DiskSettings(reserve_bytes=5), total) == 5


def test_room_goes_and_comes_back_by_itself_and_is_measured_seldom(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free, asked, now = [300 * MB], [], [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def measure(folder: Path) -> tuple[int, int]:
        asked.append(folder)
        return free[0], 10_000 * MB

    room = Room(tmp_path, DiskSettings(), measure)
    room.check()
    free[0] = 200 * MB
    for _ in range(1000):
        room.check()
    assert len(asked) == 1
    now[0] += 1.0
    with pytest.raises(StorageFailed, match="200 MB are free and 256 MB stay in reserve"):
        room.check()
    free[0] = 256 * MB
    now[0] += 1.0
    room.check()


def test_a_disk_that_cannot_be_measured_is_no_reason_to_refuse(tmp_path: Path) -> None:
    def fails(folder: Path) -> tuple[int, int]:
        raise OSError("stale")

    Room(tmp_path, DiskSettings(reserve_bytes=1 << 60), fails).check()
    assert measured(tmp_path / "not" / "there" / "yet") == pytest.approx(measured(tmp_path), rel=0.2)
