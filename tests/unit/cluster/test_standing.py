"""What the Supervisor remembers of a child."""

import json
from pathlib import Path

from cluster.standing import Standing, known_starts
from cluster.tree import Child
from perenne.messages.health import Health

CHILD = Child(name="StoreWriter", code="actors.store.actor:StoreWriter")


def health(pid: int, **changes):
    return Health(**{"name": CHILD.name, "status": "ready", "pid": pid, **changes})


def test_a_new_process_id_is_a_restart_and_the_same_one_is_not():
    standing = Standing(CHILD)
    standing.go(100, 1.0)
    standing.answered(health(100), 2.0)
    standing.answered(health(100), 3.0)
    assert standing.status().restarts == 0
    standing.go(101, 4.0)
    assert standing.status().restarts == 1
    assert standing.status().pid == 101


def test_asking_again_from_the_same_process_is_not_another_start():
    standing = Standing(CHILD)
    for pid in range(100, 106):
        standing.go(pid, float(pid - 100))
    first = standing.go(105, 5.01)
    assert first.decision == "wait"
    assert standing.go(105, 5.01 + first.wait_s).decision == "go"


def test_one_answer_ends_the_count_of_unanswered_pings():
    standing = Standing(CHILD)
    standing.answered(health(100), 1.0)
    for _ in range(CHILD.patience.silent):
        standing.silent(2.0)
    assert standing.status().state == "hung"
    assert standing.hung(2.0)
    standing.answered(health(100), 3.0)
    assert standing.hung(3.0) is None
    assert standing.status().state == "ready"


def test_a_restarted_supervisor_goes_on_counting_where_the_shells_wrote(tmp_path: Path):
    folder = tmp_path / "run" / "starts"
    folder.mkdir(parents=True)
    (folder / "StoreWriter.json").write_text(json.dumps([10.0, 95.0, 99.0]))
    assert known_starts(tmp_path, "StoreWriter", 100.0, 60.0) == (95.0, 99.0)
    (folder / "StoreWriter.json").write_text("{torn")
    assert known_starts(tmp_path, "StoreWriter", 100.0, 60.0) == ()
