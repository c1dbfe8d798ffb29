"""A backup made while an instance is written to; a keeper killed amid one; the home lost, brought back, and asked again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perenne import names
from perenne.client import connect_sync
from perenne.schedules import read_schedule
from tests.live.running import ROOT, RunningInstance
from tests.live.test_clients import TEXT

QUESTION = "Who built the lighthouse of Cabo Verano?"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningInstance]:
    made = RunningInstance(PERENNE_BACKUP_TARGET=str(tmp_path / "target"))
    try:
        yield made
    finally:
        made.close()


def perenne(running: RunningInstance, *words: str, code: int = 0) -> list[dict[str, Any]]:
    """What `perenne … --json` says, a line each."""
    ended = subprocess.run(
        [sys.executable, "-c", "from perenne.cli import main; main()", *words, "--json"],
        env=running.environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ended.returncode == code, (ended.returncode, ended.stdout, ended.stderr)
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.timeout(900)
def test_a_lost_home_comes_back_with_everything_that_was_acknowledged(running: RunningInstance, tmp_path: Path) -> None:
    guide = tmp_path / "cabo-verano.md"
    guide.write_text(TEXT, encoding="utf-8")
    running.start()
    with connect_sync(running.address, home=str(running.home)) as client:
        added = client.add(guide, "default")
        assert added.job is not None
        assert client.wait_job(added.job.id, timeout_s=120).state == "done"
        answer = client.ask(QUESTION, "default")
        talks = client.conversations()
        text = client.document_text(added.document.id).text
        hits = [hit.chunk_id for hit in client.search("Who built the lighthouse?", "default", k=5).hits]
        acknowledged: list[str] = []
        ended = threading.Event()

        def write() -> None:
            with connect_sync(running.address, home=str(running.home)) as writer:
                while not ended.is_set():
                    acknowledged.append(writer.create_project(f"written {len(acknowledged)}").id)

        writing = threading.Thread(target=write)
        writing.start()
        try:
            assert running.until(lambda: len(acknowledged) >= 5, 60)
            before = list(acknowledged)
            (made,) = perenne(running, "backup", "create")
            after = len(acknowledged)
        finally:
            ended.set()
            writing.join(30)
        assert made["ok"], made
        assert after > len(before), "nobody wrote while it was made"

    _a_killed_keeper_lists_nothing_half_made(running)

    (drilled,) = perenne(running, "backup", "drill", made["backup_id"])
    assert drilled["ok"], drilled
    assert perenne(running, "backup", "verify", made["backup_id"])[0]["ok"]
    told = running.command("status").stdout
    assert "backup: " in told
    assert "drill: " in told
    assert running.stop() == 0

    shutil.rmtree(running.home)
    (restored,) = perenne(running, "backup", "restore", made["backup_id"])
    assert restored["checked"]["vectors"] > 0
    assert restored["checked"]["texts"] > 0
    running.start()
    with connect_sync(running.address, home=str(running.home)) as client:
        assert set(before) <= {project.id for project in client.projects()}
        assert client.conversations() == talks
        found: list[int] = []

        def same() -> bool:
            found[:] = [hit.chunk_id for hit in client.search("Who built the lighthouse?", "default", k=5).hits]
            return found == hits

        assert running.until(same, 60), (found, hits)
        again = client.ask(QUESTION, "default")
        assert [cited.chunk_id for cited in again.citations] == [cited.chunk_id for cited in answer.citations]
        assert client.document_text(added.document.id).text == text
    assert read_schedule(running.home, "backup").last is None, "the schedules of the lost home are not the new one's"


def _a_killed_keeper_lists_nothing_half_made(running: RunningInstance) -> None:
    listed = [each["id"] for each in perenne(running, "backup", "list")]
    pid = running.child(names.BACKUP_KEEPER).pid
    with running.client() as http:
        http.post("/api/backups").raise_for_status()

        def writes() -> bool:
            held = read_schedule(running.home, "backup")
            return held is not None and held.running_since is not None and held.progress in ("writing", "copying the database")

        assert running.until(writes, 60)
        os.kill(pid, signal.SIGKILL)
        assert running.until(lambda: http.get("/api/schedules").status_code == 200, 60)
        assert running.until(lambda: running.child(names.BACKUP_KEEPER).pid not in (0, pid), 60)
    now = [each["id"] for each in perenne(running, "backup", "list")]
    if now != listed:  # it was listed just before the blow: then it is whole
        assert now[1:] == listed
        assert perenne(running, "backup", "verify", now[0])[0]["ok"]
    held = read_schedule(running.home, "backup")
    assert held is not None
    assert held.last is not None
    assert "interrupted" in held.last.detail
    (made,) = perenne(running, "backup", "create")
    assert made["ok"], made
    assert [each["id"] for each in perenne(running, "backup", "list")] == [made["backup_id"], *now]
