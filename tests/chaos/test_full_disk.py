"""The disk is full to its last byte while the writer, a shard and the store of files work on it, and has room again later."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.blobs.layout import Layout
from actors.index.shard import Shard
from actors.index.snapshot import ShardSpec
from actors.store.database import connect_sqlite
from actors.store.writer import WriterCore
from perenne.errors import StorageFailed
from serve.errors import STATUS
from tests.chaos.core_checks import CHECKS
from tests.chaos.core_process import ROOT, Cores, beginnings, needs_strace, some
from tests.chaos.full_disk import LIMITS, REFUSED
from tests.chaos.recorder import Recorder
from tests.unit.store.store_house import SPACE, on_sqlite

PROMISE = "what was acknowledged is there, the rest is refused; reading and searching go on, and writing once there is room"
IN_CI = 2  # disks that fill
WRITES_IN_CI = 12  # of each work, of all that may find no room
NO_ROOM_FOR = 6  # writes one after the other


def filled(folder: Path, seeds: list[int]) -> list[dict[str, Any]]:
    """What was seen on each disk. A skip where no disk may be mounted."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare (util-linux) is not installed: no small disk can be mounted")
    apart = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    done = subprocess.run(
        [*apart, sys.executable, "-m", "tests.chaos.full_disk", folder, *map(str, seeds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    if "unshare failed" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr[-4_000:]
    told = [json.loads(line) for line in done.stdout.splitlines()]
    if "no_disk" in told[0]:
        pytest.skip(f"no small disk can be mounted here: {told[0]['no_disk']}")
    return told


def not_there(seen: dict[str, Any], left: Path) -> list[str]:
    """What was acknowledged and is not on the disk; or that something is damaged."""
    core = WriterCore(on_sqlite(left / "home"))
    core.open()
    core.close()
    with closing(connect_sqlite(left / "home" / "store" / "perenne.db", create=False, pragmas=())) as raw:
        sound = [row[0] for row in raw.execute("PRAGMA integrity_check").fetchall()]
        known = {row[0] for row in raw.execute("SELECT id FROM commands").fetchall()}
        (said,) = raw.execute("SELECT count(*) FROM messages WHERE role = 'user'").fetchone()
        (stored,) = raw.execute("SELECT count(*) FROM documents").fetchone()
    shard = Shard(left / "shard", ShardSpec(SPACE, "model"), limits=LIMITS)
    rows = shard.open() and shard.load().base_rows
    shard.close()
    blobs = {name for name, _ in Layout(left / "blobs").blobs()}
    wrong = [] if sound == ["ok"] else sound
    wrong += [f"{id} is acknowledged and not there" for id in seen["acknowledged"] if id not in known]
    wrong += [f"file {name} is acknowledged and not there" for name in seen["files"] if name not in blobs]
    if (said, stored, rows) != (len(seen["questions"]), seen["documents"], seen["documents"]):
        wrong.append(f"{said} questions, {stored} documents, {rows} in the shard: not what was acknowledged")
    return wrong


@pytest.mark.timeout(600)
def test_a_disk_that_is_full_takes_nothing_that_was_acknowledged(recorder: Recorder, tmp_path: Path) -> None:
    seeds = list(range(1, int(os.environ.get("PERENNE_CHAOS_ROUNDS", str(IN_CI))) + 1))
    told = filled(tmp_path, seeds)
    assert [seen["seed"] for seen in told] == seeds
    for seen in told:
        assert seen["wrong"] == [], f"seed {seen['seed']}"
        assert len(seen["refused"]) >= 2 * REFUSED, "the disk was never full"
        assert "full" in seen["words"], seen["words"]
        assert seen["files_refused"] >= 1
        assert seen["snapshots_refused"] >= 1
        assert seen["documents"] > LIMITS.graph_rows
        assert not_there(seen, tmp_path / str(seen["seed"])) == []
        recorder.round("the disk is full", PROMISE, seen["recovery_s"], acknowledged=len(seen["acknowledged"]))
    assert STATUS[StorageFailed] == 507


@pytest.mark.parametrize("work", ["writer", "shard", "blobs"])
def test_a_write_that_finds_no_room_is_acknowledged_by_nobody(work: str, recorder: Recorder, tmp_path: Path) -> None:
    """Wherever the room ends, and for as long as six writes find none."""
    needs_strace()
    folder, beginning = tmp_path / "home", beginnings(work, tmp_path / "beginning")
    shutil.copytree(beginning, folder)
    cores, refused = Cores(), 0
    try:
        writes = [(call, n) for call, most in cores.counted(work, folder, tmp_path / "log").items() for n in range(1, most + 1)]
        for call, nth in some([each for each in writes if each[0] in ("write", "pwrite64")], WRITES_IN_CI, seed=work):
            shutil.rmtree(folder)
            shutil.copytree(beginning, folder)
            no_room = f"inject={call}:error=ENOSPC:when={nth}..{nth + NO_ROOM_FOR - 1}"
            heard = cores.run(work, folder, "-e", f"trace={call}", "-e", no_room)
            assert heard.ended, f"{call} {nth} ended it: {heard.lines}"
            verdict = CHECKS[work](folder, heard.acknowledged)
            if heard.refused.keys() & {"c-user", "c-project"}:  # and what needs them is answered so, again too
                assert set(heard.refused.values()) <= {"StorageFailed", "NotFound"}, heard.refused
                assert not verdict.lost, f"no room at {call} {nth}: {verdict.wrong}"
            else:
                assert set(heard.refused.values()) <= {"StorageFailed", "OSError"}, heard.refused
                assert not verdict.wrong, f"no room at {call} {nth}: {verdict.wrong}"
            refused += len(heard.refused)
            recorder.round(
                f"no room at each write: {work}",
                PROMISE,
                verdict.recovery_s,
                acknowledged=verdict.acknowledged,
                lost=verdict.lost,
                doubled=verdict.doubled,
            )
    finally:
        cores.close()
    assert refused, "no write was ever refused"
