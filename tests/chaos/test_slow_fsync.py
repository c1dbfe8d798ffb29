"""A disk whose flushes take long: a dying one, a network's, or one that somebody else keeps busy."""

import time
from pathlib import Path

import pytest

from tests.chaos.core_checks import CHECKS
from tests.chaos.core_process import Cores, beginnings
from tests.chaos.core_work import commands
from tests.chaos.recorder import Recorder

PROMISE = "nobody is answered before the flush is over, however long it takes"
SLOW_S = 0.25


def test_nobody_is_answered_before_a_slow_flush_is_over(cores: Cores, recorder: Recorder, tmp_path: Path) -> None:
    folder = beginnings("writer", tmp_path / "home")
    slowed, begun = f"inject=fsync:delay_enter={round(SLOW_S * 1e6)}", time.monotonic()
    heard = cores.run("writer", folder, "-e", "trace=fsync", "-e", slowed)
    took_s = time.monotonic() - begun
    everything = [command.command_id for command in commands()]
    assert heard.acknowledged == everything
    assert took_s >= SLOW_S * len(everything)
    verdict = CHECKS["writer"](folder, heard.acknowledged)
    assert not verdict.wrong
    recorder.round("slow fsync", PROMISE, took_s / len(everything), acknowledged=verdict.acknowledged, lost=verdict.lost)


@pytest.mark.parametrize("work", ["shard", "blobs"])
def test_a_shard_and_the_store_of_files_wait_for_a_slow_flush(
    work: str, cores: Cores, recorder: Recorder, tmp_path: Path
) -> None:
    folder, log = tmp_path / "home", tmp_path / "log"
    folder.mkdir()
    slowed, begun = f"inject=fsync:delay_enter={round(SLOW_S * 1e6 / 10)}", time.monotonic()
    heard = cores.run(work, folder, "-e", "trace=fsync,sendto", "-e", slowed, log=log)
    took_s = time.monotonic() - begun
    assert heard.ended
    assert heard.refused == {}
    flushes, told = 0, 0
    for line in log.read_text().splitlines():
        flushes += " fsync(" in line
        if '"ok ' in line:
            told += 1
            assert flushes, "told before anything was flushed"
            flushes = 0
    assert told == len(heard.acknowledged) > 1
    verdict = CHECKS[work](folder, heard.acknowledged)
    assert not verdict.wrong
    recorder.round(f"slow fsync: {work}", PROMISE, took_s / told, acknowledged=verdict.acknowledged, lost=verdict.lost)
