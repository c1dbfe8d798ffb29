"""The host of jobs dies by SIGKILL, twice, in the middle of a bulk job."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from perenne.api import Perenne
from perenne.messages.records import Job
from tests.chaos.recorder import Recorder
from tests.live.running import mark_of_run

PROMISE = "the job goes on at its last checkpoint; every line becomes a document, once"
LINES = 2500  # so many that two strikes fall before the last


async def external_ids(api: Perenne, project: str) -> Counter[str | None]:
    counts: Counter[str | None] = Counter()
    after: str | None = None
    while True:
        page = await api.documents(project, limit=500, after=after)
        counts.update(document.external_id for document in page.items if document.state == "indexed")
        after = page.next
        if after is None:
            return counts


async def test_every_line_becomes_a_document_once_when_the_host_of_jobs_is_killed(
    api: Perenne, kill: Callable[[str], float], recorder: Recorder, round_number: int, tmp_path: Path
) -> None:
    project = (await api.create_project(f"bulk-{mark_of_run()}")).id
    path = tmp_path / "lines.jsonl"
    lines = (
        {"id": f"n{n}", "title": f"note {n}", "text": f"Note number {n} tells of the house by the river."} for n in range(LINES)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    job = await api.add_jsonl(path, project)
    recovery_s: list[float] = []
    for _ in range(2):
        before = await progressed(api, job.id, beyond=0 if not recovery_s else -1)
        assert before.state != "done", "the job ended before it could be struck"
        struck = kill("IngestHost")
        await progressed(api, job.id, beyond=before.done)
        recovery_s.append(time.monotonic() - struck)
    ended = await api.wait_job(job.id, timeout_s=240)
    assert ended.state == "done", ended.reason
    counts = await external_ids(api, project)
    lost = [f"n{n}" for n in range(LINES) if counts[f"n{n}"] == 0]
    doubled = [name for name, count in counts.items() if count > 1]
    recorder.round(
        "kill -9 of the host of jobs", PROMISE, max(recovery_s), acknowledged=LINES, lost=len(lost), doubled=len(doubled)
    )
    assert (lost[:5], doubled[:5]) == ([], [])
    assert sum(counts.values()) == LINES


async def progressed(api: Perenne, job_id: str, beyond: int) -> Job:
    """Wait until the job has gone further than this, or has ended."""
    deadline = time.monotonic() + 120
    while True:
        job = await api.job(job_id)
        if job.done > beyond or job.state == "done":
            return job
        assert time.monotonic() < deadline, f"the job stands at {job.done} of {job.total}: {job.state} {job.reason}"
        await asyncio.sleep(0.05)
