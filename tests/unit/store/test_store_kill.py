"""kill -9 while it writes: whatever was answered is there, once. The same check fails for a writer that answers too early, and one
that forgets ids."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from actors.store.mutants import Mutants
from actors.store.writer import WriterCore
from perenne.errors import Unavailable
from perenne.messages import commands as c
from tests.unit.store import store_house

ROOT = Path(__file__).resolve().parents[3]
ANSWERS = 60  # heard before the kill


def killed_while_writing(home: Path, mutant: str) -> list[str]:
    """The names that a killed process had been told are stored."""
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/unit/store/killed_writer.py"), store_house.database_of(home), mutant, "u"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    heard = [child.stdout.readline().strip() for _ in range(ANSWERS)]
    os.kill(child.pid, signal.SIGKILL)
    heard += [line.strip() for line in child.stdout.read().split("\n") if line.strip()]
    child.wait(10)
    return heard


def open_within(core: WriterCore, seconds: float) -> None:
    """A server needs a moment to see that the session of the dead has ended."""
    until = time.monotonic() + seconds
    while True:
        try:
            return core.open()
        except Unavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def lost_and_doubled(home: Path, mutant: str) -> tuple[set[str], int]:
    """What was acknowledged and is not there; and how many repeats of acknowledged commands were done a second time."""
    heard = killed_while_writing(home, mutant)
    core = WriterCore(store_house.database_of(home), mutants=Mutants(no_dedup=mutant == "no_dedup"))
    open_within(core, 10.0)
    with core._engine.connect() as conn:
        stored = {row[0] for row in conn.exec_driver_sql("SELECT id FROM users").all()}
    repeats = [c.CreateUser(command_id=name, user_id=c.SYSTEM_USER, new_user_id=name, name=name) for name in heard[:50]]
    outcomes = core.submit([each for each in repeats if each.new_user_id in stored]).result(20)
    core.close()
    return set(heard) - stored, sum(1 for outcome in outcomes if outcome.error is not None)


def test_nothing_that_was_answered_is_lost_or_done_twice(tmp_path: Path) -> None:
    assert lost_and_doubled(tmp_path, "none") == (set(), 0)


def test_the_check_finds_a_writer_that_answers_before_it_committed(tmp_path: Path) -> None:
    # A kill lands between answer and commit most times, not every time: a few tries.
    assert any(lost_and_doubled(tmp_path / str(n), "answer_before_commit")[0] for n in range(6))


def test_the_check_finds_a_writer_that_forgets_ids(tmp_path: Path) -> None:
    assert lost_and_doubled(tmp_path, "no_dedup")[1] > 0
