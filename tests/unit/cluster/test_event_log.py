"""What the Supervisor tells: numbered, bounded, and there after a restart."""

import json
from pathlib import Path

from cluster import events as module
from cluster.events import EVENTS_KEPT, EventLog


def test_events_outlive_the_supervisor_and_are_read_from_a_number_on(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "run" / "events.jsonl")
    log.note("group_restarted", "database", "anew")
    log.note("group_held", "database", "held", until=5.0)
    assert [event.seq for event in log.after(0)] == [1, 2]
    log.flush()
    again = EventLog(tmp_path / "run" / "events.jsonl")
    assert again.after(0) == log.after(0)
    assert [event.kind for event in again.after(1)] == ["group_held"]
    again.note("group_tried", "database")
    assert again.after(2)[0].seq == 3


def test_a_cause_that_repeats_is_told_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    noted = [log.note("child_died", "StoreReader-0", quiet_s=300.0) for _ in range(200)]
    assert sum(event is not None for event in noted) == 1
    assert log.note("child_died", "StoreWriter", quiet_s=300.0) is not None


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.note("disk_low", "disk")
    log.flush()
    with open(path, "a") as file:
        file.write('{"seq": 2, "at": 1.0, "ki')
    again = EventLog(path)
    again.note("disk_full", "disk")
    again.flush()
    assert [event.kind for event in EventLog(path).after(0)] == ["disk_low", "disk_full"]


def test_the_file_is_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module.os, "fsync", lambda _: None)
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    for number in range(3 * EVENTS_KEPT):
        log.note("disk_low", str(number))
        if number % 7 == 0:
            log.flush()
    log.flush()
    lines = path.read_text().splitlines()
    assert len(lines) <= 2 * EVENTS_KEPT
    assert json.loads(lines[-1])["seq"] == 3 * EVENTS_KEPT
    assert len(EventLog(path).after(0)) == EVENTS_KEPT


def test_what_the_disk_does_not_take_is_kept_for_the_next_flush(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    log = EventLog(tmp_path / "run" / "events.jsonl")
    log.note("disk_full", "disk")
    try:
        log.flush()
        raise AssertionError("it was written nowhere")
    except OSError:
        pass
    (tmp_path / "run").unlink()
    log.flush()
    assert len(EventLog(tmp_path / "run" / "events.jsonl").after(0)) == 1
