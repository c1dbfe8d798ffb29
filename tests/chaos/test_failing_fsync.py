"""A disk that refuses one flush, at each flush there is."""

import re
import shutil
from pathlib import Path

import pytest

from tests.chaos.core_checks import CHECKS
from tests.chaos.core_process import Cores, beginnings, some
from tests.chaos.recorder import Recorder

PROMISE = "a flush that failed is acknowledged by nobody; writing goes on by itself, and each command is done once"
IN_CI = 12


def failed_flushes(log: str) -> int:
    """How many flushes failed. After one of the database's log no command may be acknowledged before its connection is closed, and
    what was written is flushed to the end by another. SQLite's own flush of the folder is one too many: ours came before it."""
    failed, named, closed, flushed = 0, False, True, True
    for line in log.splitlines():
        if "INJECTED" in line:
            failed += 1
            closed = flushed = named and "/store>" in line
        elif re.search(r"\bfsync\(\d+<[^>]*/store>.* = 0", line):
            named = True
        elif re.search(r"\bclose\(\d+<[^>]*perenne\.db>\)", line):
            closed = True
        elif re.search(r"\bf(data)?sync\(.* = 0", line):
            flushed = closed
        elif re.search(r'\bsendto\(.*"ok ', line):
            assert named, f"acknowledged without the log's name being on disk: {line}"
            assert closed, f"acknowledged over the connection whose flush failed: {line}"
            assert flushed, f"acknowledged without another flush: {line}"
    return failed


@pytest.mark.parametrize("work", ["writer", "writer_from_its_start", "shard", "blobs"])
def test_one_flush_that_fails_is_acknowledged_by_nobody(work: str, cores: Cores, recorder: Recorder, tmp_path: Path) -> None:
    folder, beginning, log = tmp_path / "home", beginnings(work, tmp_path / "beginning"), tmp_path / "log"
    shutil.copytree(beginning, folder)
    flushes = cores.counted(work, folder, log)["fsync"]
    refused = 0
    for nth in some(range(1, flushes + 1), IN_CI, seed=work):
        shutil.rmtree(folder)
        shutil.copytree(beginning, folder)
        watched = ("-y", "-s", "64", "-e", "trace=fsync,fdatasync,close,sendto", "-e", f"inject=fsync:error=EIO:when={nth}")
        heard = cores.run(work, folder, *watched, log=log)
        if work == "writer_from_its_start" and not heard.ended:  # it can't open: its supervisor makes it again
            assert not heard.acknowledged
        else:
            assert heard.ended, f"the {nth}. flush ended it: {heard.lines}"
        text = log.read_text()
        assert "INJECTED" in text
        if work == "writer":
            assert failed_flushes(text) >= 1
        refused += len(heard.refused)
        verdict = CHECKS[work](folder, heard.acknowledged)
        assert not verdict.wrong, f"the {nth}. flush failed: {verdict.wrong}"
        recorder.round(
            f"one fsync fails: {work.replace('_', ' ')}",
            PROMISE,
            verdict.recovery_s,
            acknowledged=verdict.acknowledged,
            lost=verdict.lost,
            doubled=verdict.doubled,
        )
    if work in ("shard", "blobs"):
        assert refused > flushes // 2, "a failed flush was hardly ever told"
