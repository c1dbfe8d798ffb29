"""Large files through a real instance: what takes them dies by SIGKILL, then the whole instance is restarted."""

import asyncio
import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perenne import names
from perenne.http_api import HttpPerenne
from perenne.testing import eventually
from tests.live.running import RunningInstance

DATA = random.Random(11).randbytes(100 << 20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture(scope="module")
def own_instance() -> Iterator[RunningInstance]:
    running = RunningInstance()
    try:
        yield running.start()
    finally:
        running.close()


@pytest.mark.timeout(600)  # it starts an instance twice
async def test_an_upload_outlives_the_replica_that_took_it_and_a_restart_of_everything(
    own_instance: RunningInstance, path: Path
) -> None:
    instance, told = own_instance, list[int]()
    async with HttpPerenne(instance.address, instance.key, deadline_s=60.0) as client:

        def slowly(done: int, total: int) -> None:
            told.append(done)
            time.sleep(0.05 if done > 55 << 20 and not restarted else 0.002)  # a line that leaves time to break things

        restarted: list[bool] = []
        adding = asyncio.create_task(client.add(path, "default", on_progress=slowly))
        await eventually(lambda: max(told, default=0) > 20 << 20 or adding.done(), within_s=60)
        for pid in instance.pids_of("ray::ServeReplica:edge"):
            os.kill(pid, signal.SIGKILL)
        died_at = len(told)
        await eventually(lambda: len(told) > died_at and told[-1] > 55 << 20, within_s=120)
        assert not adding.done(), "the file was sent before the restart"
        assert await asyncio.to_thread(instance.stop) == 0
        stopped_at = len(told)
        restarted.append(True)
        await asyncio.to_thread(instance.start)
        added = await asyncio.wait_for(adding, 240)
    assert added.document.blob_hash == hashlib.sha256(DATA).hexdigest()
    assert min(told[died_at:]) > 0, "it began anew after the death of the replica"
    assert min(told[stopped_at:]) >= 48 << 20, "what was acknowledged before the restart was sent again"
    with instance.client() as http:
        assert len(http.get("/api/documents").json()["items"]) == 1
        assert http.get("/api/projects/default/uploads").json()["items"] == []


@pytest.mark.timeout(600)
async def test_each_line_of_a_large_file_is_one_document_though_the_replica_and_the_owner_of_files_died(
    own_instance: RunningInstance, tmp_path: Path
) -> None:
    instance, told, path = own_instance, list[int](), tmp_path / "lines.jsonl"
    lines = [json.dumps({"id": str(n), "text": f"The light of pier {n}."}).ljust(500_000) for n in range(60)]
    path.write_text("\n".join([*lines[:30], "{ this line is broken", *lines[30:]]) + "\n")
    async with HttpPerenne(instance.address, instance.key, deadline_s=60.0) as client:
        project = (await client.create_project("piers")).id

        def slowly(done: int, total: int) -> None:
            told.append(done)
            time.sleep(0.02)  # a line that leaves time to break things

        adding = asyncio.create_task(client.add_jsonl(path, project, on_progress=slowly))
        await eventually(lambda: max(told, default=0) > 8 << 20 or adding.done(), within_s=60)
        for pid in instance.pids_of("ray::ServeReplica:edge"):
            os.kill(pid, signal.SIGKILL)
        died_at = len(told)
        await eventually(lambda: (len(told) > died_at and told[-1] > 20 << 20) or adding.done(), within_s=120)
        assert not adding.done(), "the file was sent before the second death"
        await asyncio.to_thread(instance.kill_child, names.blob_store(instance.settings.pc))
        job = await client.wait_job((await asyncio.wait_for(adding, 120)).id, timeout_s=240)
        assert min(told[died_at:]) > 0, "it began anew after the death of the replica"
        assert (job.state, job.result["added"], job.result["skipped"]) == ("done", 60, 1), job
        documents = (await client.documents(project, limit=100)).items
    assert sorted(int(document.external_id or -1) for document in documents) == list(range(60))
