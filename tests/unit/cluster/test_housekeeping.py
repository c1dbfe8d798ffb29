"""What the Supervisor looks after beside health: ends, memory and disk; and what it has done about them."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cluster import applications, housekeeping, spawning
from cluster.crashes import Crashes, exits_path
from cluster.crashes import ended as told_end
from cluster.draining import drain
from cluster.tending import Tending
from perenne.errors import NotFound
from perenne.messages.health import Health
from perenne.settings import Settings, load_settings
from perenne.testing import FakeDirectory


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(spawning, "session", lambda: "session-1")
    for folder in ("ray", "run"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(Settings, "ray_dir", property(lambda _: str(tmp_path / "ray")))
    return load_settings({"PERENNE_HOME": str(tmp_path)})


class Owner:
    """An owner as its Supervisor asks it; `asked` has what it was told."""

    def __init__(self, name: str, pid: int, queue: int = 0) -> None:
        self.name, self.pid, self.queue, self.asked = name, pid, queue, []
        self.progress_age_s = 0.0

    async def health(self) -> Health:
        return Health(name=self.name, status="ready", pid=self.pid, queue=self.queue, progress_age_s=self.progress_age_s)

    async def relieve(self) -> int:
        self.asked.append("relieve")
        return 0

    async def close(self) -> None:
        self.asked.append("close")

    async def drain(self) -> None:
        self.asked.append("drain")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Actors whose process was ended, and whether Ray starts another."""
    gone: list[tuple[str, bool]] = []
    monkeypatch.setattr(spawning, "end", lambda name, *, restart: gone.append((name, restart)))
    monkeypatch.setattr(spawning, "make", lambda child, settings: None)
    monkeypatch.setattr(applications, "deploy", lambda children, settings: [])
    monkeypatch.setattr(applications, "look", dict)
    monkeypatch.setattr(applications, "replicas", dict)
    return gone


async def ticks(tending: Tending, count: int) -> None:
    """As many whole looks, with what they do beside."""
    for _ in range(count):
        await tending._tick()
        if tending._looking is not None:
            await tending._looking
        for task in tuple(tending._background):
            await task


def note_exit(settings: Settings, pid: int, status: int) -> None:
    with open(exits_path(settings.ray_dir), "a") as file:
        file.write(json.dumps({"pid": pid, "status": status, "at": time.time(), "title": "ray::something"}) + "\n")


async def test_a_death_is_recorded_under_the_childs_name_and_told_of_once(settings: Settings, ended: Any) -> None:
    owner = Owner("StoreReader-0", 4_001)
    tending = Tending(settings, FakeDirectory(**{"StoreReader-0": owner}))
    for pid in range(4_001, 4_006):
        owner.pid = pid
        await ticks(tending, 2)
        note_exit(settings, pid, signal.SIGKILL)
        await ticks(tending, 1)
    records = Crashes(settings.path("crashes")).read()
    assert [(crash.name, crash.pid, crash.signal) for crash in records] == [
        ("StoreReader-0", pid, "SIGKILL") for pid in range(4_001, 4_006)
    ]
    died = [event for event in tending.events.after(0) if event.kind == "child_died"]
    assert [(event.subject, event.record) for event in died] == [("StoreReader-0", records[0].id)]


async def test_one_that_hangs_is_ended_with_a_record_and_told_of_with_its_id(settings: Settings, ended: Any) -> None:
    owner = Owner("StoreReader-0", 4_001)
    tending = Tending(settings, FakeDirectory(**{"StoreReader-0": owner}))
    await ticks(tending, 2)
    owner.queue, owner.progress_age_s = 3, 61.0
    await ticks(tending, 1)
    assert ended == [("StoreReader-0", True)]
    (crash,) = Crashes(settings.path("crashes")).read()
    assert (crash.name, crash.pid) == ("StoreReader-0", 4_001)
    assert told_end(crash) == "was ended because it hung: 3 waiting and no progress for 61 s"
    (event,) = tending.events.after(0)
    assert (event.kind, event.subject, event.record) == ("child_hung", "StoreReader-0", crash.id)
    note_exit(settings, 4_001, 1 << 8)
    await ticks(tending, 1)
    assert len(Crashes(settings.path("crashes")).read()) == 1, "its end was ordered"


async def test_a_held_group_is_told_with_the_record_of_its_last_crash(settings: Settings, ended: Any) -> None:
    tending = Tending(settings, FakeDirectory())
    for round_ in range(2):
        for pid in range(5_000, 5_000 + settings.supervision.starts_max + 2):
            tending.go("IngestHost", pid + 100 * round_)
        note_exit(settings, 5_000 + 100 * round_, signal.SIGSEGV)
        await ticks(tending, 1)
    crashes = Crashes(settings.path("crashes")).read()
    tending._groups.release("IngestHost", time.time())
    for pid in range(6_000, 6_010):
        tending.go("IngestHost", pid)
    held = [event for event in tending.events.after(0) if event.kind == "group_held"]
    assert held
    assert held[-1].record == max(crash.id for crash in crashes)
    assert held[-1].record.endswith(("-IngestHost-5000", "-IngestHost-5100"))


async def test_an_end_that_was_ordered_or_is_as_it_should_be_is_no_crash(settings: Settings, ended: Any) -> None:
    owner = Owner("StoreReader-0", 4_001)
    tending = Tending(settings, FakeDirectory(**{"StoreReader-0": owner}))
    await ticks(tending, 2)
    await tending.restart("StoreReader-0")
    assert ended == [("StoreReader-0", True)]
    assert owner.asked == ["close"]
    note_exit(settings, 4_001, 1 << 8)  # as `ray.kill` leaves it
    note_exit(settings, 9_000, 0)
    note_exit(settings, 9_001, 1 << 8)  # a spare worker, or a replica that Serve ended
    await ticks(tending, 1)
    assert Crashes(settings.path("crashes")).read() == ()


async def test_one_that_dies_before_the_next_look_has_its_name_too(settings: Settings, ended: Any) -> None:
    """It had the kernel's name, of fifteen letters."""
    tending = Tending(settings, FakeDirectory())
    tending.go("StoreReader-0", 4_444)
    tending.go("StoreReader-0", 4_445)
    note_exit(settings, 4_444, 3 << 8)
    await ticks(tending, 1)
    assert [(crash.name, crash.exit_code) for crash in Crashes(settings.path("crashes")).read()] == [("StoreReader-0", 3)]


async def test_a_crash_that_the_root_saw_is_told_of(settings: Settings, ended: Any) -> None:
    Crashes(settings.path("crashes")).keep("gcs", 77, time.time(), signal.SIGKILL, "a process of Ray's", ())
    tending = Tending(settings, FakeDirectory())
    await ticks(tending, 2)
    (event,) = [event for event in tending.events.after(0) if event.kind == "child_died"]
    assert "gcs" in event.detail
    assert "SIGKILL" in event.detail


async def test_a_group_goes_down_once_and_a_stranger_is_left_alone(settings: Settings, ended: list[tuple[str, bool]]) -> None:
    shard = f"IndexShard-{settings.embedding.space}-0"
    members = [Owner(name, 4_000 + n) for n, name in enumerate(("StoreReader-0", shard, "RunHost", "StoreWriter"))]
    directory = FakeDirectory(**{owner.name: owner for owner in members})
    tending = Tending(settings, directory)
    await ticks(tending, 2)
    directory.kill("StoreWriter")
    decisions = []
    for pid in range(5_000, 5_000 + settings.supervision.starts_max + 2):
        decisions.append(tending.go("StoreWriter", pid).decision)
    assert decisions[-1] == "wait"
    await ticks(tending, 1)
    assert ended == [(shard, True), ("StoreReader-0", True)]
    assert [event.kind for event in tending.events.after(0)] == ["group_restarted"]
    for pid in range(6_000, 6_000 + settings.supervision.starts_max + 1):
        go = tending.go("StoreWriter", pid)
    assert go.decision == "held"
    assert [event.kind for event in tending.events.after(0)] == ["group_restarted", "group_held"]
    status = tending.status()
    assert sum("held" in reason for reason in status.reasons) == 1
    assert "the group database is held" in status.reasons[0]
    assert tending.go("RunHost", 7_000).decision == "go"
    await tending.restart("database")
    assert tending.go("StoreWriter", 8_000).decision == "go"
    with pytest.raises(NotFound):
        await tending.restart("nobody")


async def test_a_child_that_grows_is_replaced_in_an_idle_moment(
    settings: Settings, ended: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "MEMORY_LOOK_S", 0.0)
    monkeypatch.setattr(housekeeping, "MEMORY_PRESSED_S", 0.0)
    memory = settings.memory.model_copy(update={"budgets": {"StoreReader": 1 << 20}, "low_share": 0.0})
    owner = Owner("StoreReader-0", os.getpid(), queue=1)  # this process has more than a megabyte
    tending = Tending(settings.model_copy(update={"memory": memory}), FakeDirectory(**{"StoreReader-0": owner}))
    await ticks(tending, 5)
    assert owner.asked == ["relieve"]
    assert ended == []
    assert "StoreReader-0 has" in tending.status().notices[0]
    owner.queue = 0
    await ticks(tending, 2)
    assert ended == [("StoreReader-0", True)]
    kinds = [event.kind for event in tending.events.after(0)]
    assert kinds == ["child_over_budget", "child_replaced"]


async def test_a_disk_below_its_reserve_is_in_the_status_until_there_is_room(
    settings: Settings, ended: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "DISK_LOOK_S", 0.0)
    free = [1 << 20]
    monkeypatch.setattr(housekeeping, "measured", lambda folder: (free[0], 1 << 40))
    tending = Tending(settings, FakeDirectory())
    await ticks(tending, 3)
    assert tending.status().notices[0].startswith("the disk is nearly full: 1 MB are free")
    free[0] = 1 << 39
    await ticks(tending, 1)
    assert not any("disk" in notice for notice in tending.status().notices)
    assert [event.kind for event in tending.events.after(0)] == ["disk_full", "disk_recovered"]


async def test_status_says_what_still_works(settings: Settings, ended: Any) -> None:
    tending = Tending(settings, FakeDirectory())
    await ticks(tending, 1)
    notices = " ".join(tending.status().notices)
    assert "without the language model search goes on" in notices
    assert "without the embedding model search goes by words alone" in notices


# The drain


async def test_a_stop_waits_for_answers_that_move_and_no_longer_than_it_may() -> None:
    writer, runs = Owner("StoreWriter", 1), Owner("RunHost", 2, queue=1)
    directory = FakeDirectory(StoreWriter=writer, RunHost=runs)
    drained = await drain(directory, 0.5)
    assert writer.asked == ["drain"]
    assert 0.3 <= drained.took_s <= 1.5
    assert str(drained).endswith("1 unfinished, to be gone on with")

    runs.progress_age_s = 60.0  # it waits for a model that does not come
    assert (await drain(directory, 30.0)).took_s < 2.0
    runs.queue = 0
    assert (await drain(directory, 30.0)).took_s < 2.0
    directory.kill("RunHost")
    directory.kill("StoreWriter")
    assert (await drain(directory, 30.0)).took_s < 2.0
