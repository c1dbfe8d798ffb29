"""kill -9 at every call by which the writer, a shard and the store of files change what the disk holds."""

import shutil
from pathlib import Path

import pytest

from tests.chaos.core_checks import CHECKS
from tests.chaos.core_process import Cores, beginnings, some
from tests.chaos.recorder import Recorder

PROMISES = {
    "writer": "what was answered is there, once; what was not is done once when it is sent again; nothing is torn",
    "writer_from_its_start": "a death while it opens costs nothing",
    "shard": "a snapshot that was left is taken up whole, and the shard answers exactly",
    "blobs": "a file that was acknowledged is there, and whatever has a name has the bytes of that name",
}
IN_CI = 24  # kills of each, of all that there are


@pytest.mark.parametrize("work", PROMISES)
def test_a_core_killed_at_any_write_loses_nothing(work: str, cores: Cores, recorder: Recorder, tmp_path: Path) -> None:
    folder, beginning = tmp_path / "home", beginnings(work, tmp_path / "beginning")
    shutil.copytree(beginning, folder)
    calls = cores.counted(work, folder, tmp_path / "log")
    assert sum(calls.values()) > IN_CI
    assert CHECKS[work](folder, []).wrong == []  # without a kill
    survived, acknowledged = [], set[int]()
    for call, nth in some([(call, n) for call, most in calls.items() for n in range(1, most + 1)], IN_CI, seed=work):
        shutil.rmtree(folder)
        shutil.copytree(beginning, folder)
        heard = cores.run(work, folder, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={nth}")
        survived += [(call, nth)] if heard.ended else []
        verdict = CHECKS[work](folder, heard.acknowledged)
        acknowledged.add(verdict.acknowledged)
        assert not verdict.wrong, f"killed at {call} {nth}: {verdict.wrong}"
        recorder.round(
            f"kill -9 at each write: {work.replace('_', ' ')}",
            PROMISES[work],
            verdict.recovery_s,
            acknowledged=verdict.acknowledged,
            lost=verdict.lost,
            doubled=verdict.doubled,
        )
    assert not survived, f"not every call was reached: {survived}"
    assert len(acknowledged) > 1, "all kills fell into one moment"
