"""The main job with much in it: `python -m benchmarks.large [--documents N]`.

A running instance (default profile) takes in the samples' passages among drawn ones, 20,000 documents of some 100,000 passages in all, as
JSON lines, is stopped and started again, and then is searched and asked: questions of the samples, drawn by a seed, some without an
answer. SQLite, or the empty database of PERENNE_DATABASE_URL.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

import perenne
from benchmarks.answers import contains
from benchmarks.house import corpus, samples_of
from benchmarks.hybrid import Vocabulary
from benchmarks.questions.draw import Draw, Drawn, draw
from benchmarks.report import Figure, publish
from benchmarks.running import pss_bytes
from perenne.api import Perenne
from perenne.messages.records import Job, RunEvent
from tests.live.running import RunningInstance

SEED = "perenne-large-1"  # search was not fitted on what it draws
PASSAGES = 6  # of a drawn document
OF_A_KIND = (8, 4)  # questions of each language, with and without an answer
SEARCHES = 200
TELL_S = 30.0


def lines_of(samples: Path, drawn: Draw, documents: int) -> Iterator[str]:
    """JSON lines: the samples' passages but those left out, and drawn documents up to the number asked for."""
    texts = [one for name in ("squad-es", "pubmedqa") for one in corpus(samples, name) if one.id not in drawn.leave_out]
    if documents < len(texts):
        raise SystemExit(f"--documents: expected {len(texts):,} at least, got {documents:,}")
    for one in texts:
        yield json.dumps({"id": one.id, "title": one.title, "text": one.text}, ensure_ascii=False)
    vocabulary = Vocabulary()
    for n in range(documents - len(texts)):
        passages = vocabulary.passages(PASSAGES)
        text = "\n\n".join(f"{passage.capitalize()}." for passage in passages)
        yield json.dumps({"id": f"drawn-{n}", "title": " ".join(passages[0].split()[:3]), "text": text})


async def taken_in(client: Perenne, path: Path, project: str) -> float:
    """Seconds from the first byte sent to the job's end."""
    began = time.perf_counter()
    told = [began]

    def moved(job: Job) -> None:
        if time.perf_counter() - told[0] > TELL_S:
            told[0] = time.perf_counter()
            print(f"{told[0] - began:.0f} s: {job.done:,} {job.unit}", file=sys.stderr, flush=True)

    job = await client.wait_job((await client.add_jsonl(path, project)).id, moved)
    if job.state != "done":
        raise SystemExit(f"expected the lines to be taken in, got {job.state}: {job.reason}")
    return time.perf_counter() - began


async def searched(client: Perenne, project: str, samples: Path) -> list[Figure]:
    """By other questions than those that are asked: each only once, as people ask."""
    others = draw(samples, f"{SEED}-searches", SEARCHES // 2, 0).questions
    took: list[float] = []
    for one in others:
        began = time.perf_counter()
        found = await client.search(one.text, project, k=10)
        took.append((time.perf_counter() - began) * 1000.0)
        if found.degraded is not None or not found.hits:
            raise SystemExit(f"expected hits of both halves for {one.text!r}, got {len(found.hits)}, {found.degraded}")
    return [
        Figure("one search over HTTP, p50", statistics.median(took), None, "ms"),
        Figure("one search over HTTP, p99", float(np.quantile(took, 0.99)), None, "ms"),
    ]


@dataclass
class Asked:
    """Counts over the questions, and seconds of each."""

    sources_s: list[float] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)
    right: int = 0
    first: int = 0
    cited: int = 0
    wrongly_declined: int = 0
    declined: int = 0


async def ask(client: Perenne, project: str, one: Drawn, to: Asked) -> None:
    """One question to its end; a miss is printed."""
    began = time.perf_counter()

    def hear(event: RunEvent) -> None:
        if event.kind == "sources":
            to.sources_s.append(time.perf_counter() - began)

    answer = await client.ask(one.text, project, on_event=hear)
    to.ends_s.append(time.perf_counter() - began)
    if one.answerable:
        good = answer.grounded and contains(one, answer.text)
        to.right += good
        to.first += any(hit.external_id == one.document for hit in answer.sources[:3])
        to.cited += any(each.external_id == one.document for each in answer.citations)
        to.wrongly_declined += not answer.grounded
    else:
        good = not answer.grounded
        to.declined += good
    if not good:
        wanted = " or ".join(one.answers) if one.answerable else "no answer"
        print(f"miss: {one.text} Wanted {wanted}, got: {answer.text}", file=sys.stderr)


async def asked(client: Perenne, project: str, drawn: Draw) -> list[Figure]:
    """All questions, one after the other."""
    seen = Asked()
    for one in drawn.questions:
        await ask(client, project, one, seen)
    able = sum(one.answerable for one in drawn.questions)
    unable = len(drawn.questions) - able
    return [
        Figure("question to sources, p50", statistics.median(seen.sources_s), None, "s", "ours <= 0.5"),
        Figure("question to the end of the answer, p50", statistics.median(seen.ends_s), None, "s"),
        Figure("answers that contain the judged one", seen.right, able, "answers", note="theirs: answerable questions"),
        Figure("judged passage among the first three sources", seen.first, able, "questions"),
        Figure("judged passage cited", seen.cited, able, "answers"),
        Figure("answerable questions declined", seen.wrongly_declined, able, "questions"),
        Figure("unanswerable questions declined", seen.declined, unable, "questions", note="theirs: unanswerable questions"),
    ]


def _pss_gb(running: RunningInstance) -> float:
    return sum(pss_bytes(psutil.Process(pid)) for pid in running.processes()) / 1e9


async def measured(running: RunningInstance, samples: Path, documents: int) -> list[Figure]:
    drawn = draw(samples, SEED, *OF_A_KIND)
    running.start()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "large.jsonl")
        await asyncio.to_thread(path.write_text, "\n".join(lines_of(samples, drawn, documents)) + "\n", "utf-8")
        async with perenne.connect(running.address, key=running.key) as client:
            project = (await client.create_project("large")).id
            took_s = await taken_in(client, path, project)
    running.stop()
    began = time.perf_counter()
    running.start()
    again_s = time.perf_counter() - began
    async with perenne.connect(running.address, key=running.key) as client:
        held = await client.project(project)
        if held.documents != documents:
            raise SystemExit(f"expected {documents:,} documents after the start, got {held.documents:,}")
        figures = [
            Figure("documents", held.documents, None, "documents"),
            Figure("passages", held.chunks, None, "passages"),
            Figure("taken in", held.chunks / took_s, None, "passages/s", note=f"{took_s:.0f} s in all"),
            Figure("started again, until ready", again_s, None, "s", "ours <= 15"),
            *await searched(client, project, samples),
            *await asked(client, project, drawn),
        ]
    return [*figures, Figure("memory of the whole instance after it", _pss_gb(running), None, "GB PSS", "ours <= 6")]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", help="a folder with retrieval/ in it; else PERENNE_SAMPLES")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--profile", default="default")
    given = parser.parse_args()
    url = os.environ.get("PERENNE_DATABASE_URL")
    running = RunningInstance(given.profile, **({"PERENNE_DATABASE_URL": url} if url else {}))
    (running.home / "config.yaml").write_text("edge:\n  requests_per_minute: 10000000\n")
    try:
        figures = asyncio.run(measured(running, samples_of(given.samples), given.documents))
    finally:
        running.close()
    return 0 if publish("large", figures, database="PostgreSQL" if url else "SQLite", seed=SEED) else 1


if __name__ == "__main__":
    sys.exit(main())
