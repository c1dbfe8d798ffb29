"""The power goes, at any moment: what was flushed is there, and what was not may be, in any choice and torn. Mutants that leave out one
flush are caught by the same check."""

import copy
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.core_checks import CHECKS
from tests.chaos.core_process import Cores, beginnings, some
from tests.chaos.power_cut import OPTIONS, Disk, replay
from tests.chaos.recorder import Recorder

PROMISES = {
    "writer_from_its_start": "what was answered is there, once, whatever of the rest reached the disk",
    "shard": "a snapshot that was left is taken up whole, and the shard answers exactly",
    "blobs": "a file that was acknowledged has its name and its bytes",
}
IN_CI = 30  # moments of each
KEPT = (0.0, 0.5, 0.9)  # the chance that what was not flushed is there all the same
MUTANT_CUTS = 60  # moments until each mutant must have been caught
MUTANTS = [
    ("writer_from_its_start", "synchronous=OFF", "acknowledged and not there|damaged|does not open"),
    ("writer_from_its_start", "synchronous=NORMAL", "acknowledged and not there|lost what was acknowledged"),
    ("shard", "snapshot without fsync", "expected a snapshot of"),
    ("shard", "snapshot without folder fsync", "expected a snapshot of"),
    ("blobs", "blob without folder fsync", "acknowledged and not there"),
]


def recorded(cores: Cores, work: str, mutant: str, folder: Path) -> tuple[Disk, str]:
    """The disk as it was before a workload, and the record of what was done to it: done again, it is as the real one."""
    folder.mkdir()
    home, log = beginnings(work, folder / "home"), folder / "log"
    disk, again = Disk(home), Disk(home)
    heard = cores.run(work, home, *OPTIONS, mutant=mutant, log=log)
    assert heard.ended, heard.lines
    trace = log.read_text()
    for _ in replay(again, trace):
        pass
    again.leave(shown := folder / "shown", random.Random(0), kept=1.0)
    assert contents(shown) == contents(home), "the record does not tell all that was done"
    assert again.acknowledged == heard.acknowledged
    return disk, trace


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_after_cuts(disk: Disk, trace: str, moments: int, scratch: Path, seed: str) -> Iterator[tuple[str, Path, list[str]]]:
    """What cuts of the power leave: when and how, the folder, and what had been acknowledged by then."""
    chance = random.Random(seed)
    changes = list(range(1, sum(1 for _ in replay(copy.deepcopy(disk), trace)) + 1))
    chosen = set(some(changes, moments, seed=seed))
    for change in replay(disk, trace):
        if change not in chosen:
            continue
        for kept in KEPT:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            disk.leave(scratch, chance, kept)
            yield f"cut after change {change}, {kept:.0%} of the rest kept", scratch, list(disk.acknowledged)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("work", PROMISES)
def test_what_was_acknowledged_before_the_power_went_is_there(
    work: str, cores: Cores, recorder: Recorder, tmp_path: Path
) -> None:
    disk, trace = recorded(cores, work, "", tmp_path / "recorded")
    counts = set[int]()
    for when, folder, acknowledged in left_after_cuts(disk, trace, IN_CI, tmp_path / "left", work):
        verdict = CHECKS[work](folder, acknowledged)
        counts.add(len(acknowledged))
        assert not verdict.wrong, f"{when}: {verdict.wrong}"
        recorder.round(
            f"the power goes: {work.replace('_', ' ')}",
            PROMISES[work],
            verdict.recovery_s,
            acknowledged=verdict.acknowledged,
            lost=verdict.lost,
            doubled=verdict.doubled,
        )
    assert len(counts) > 2, "all cuts fell into one moment"


@pytest.mark.parametrize(("work", "mutant", "words"), MUTANTS)
def test_a_core_that_leaves_out_a_flush_is_caught(work: str, mutant: str, words: str, cores: Cores, tmp_path: Path) -> None:
    disk, trace = recorded(cores, work, mutant, tmp_path / "recorded")
    for _, folder, acknowledged in left_after_cuts(disk, trace, MUTANT_CUTS, tmp_path / "left", mutant):
        wrong = CHECKS[work](folder, acknowledged).wrong
        if any(any(word in each for word in words.split("|")) for each in wrong):
            return
    pytest.fail(f"a missing flush went unnoticed ({mutant}): the check can't fail")
