"""`python -m benchmarks.ingest`: documents and JSON lines taken in by a running instance (tiny profile, the default embedder), beside
a plain loop in one process that parses, cuts and embeds the same and keeps the vectors in a list.

The loop has the same parsers, the same weights and the same cores, once with one thread for the weights and once with a thread for each
core; what ours does beyond it is to receive the files, to survive any death, to know languages, to make full text and to write
everything to disk. Then how the rate grows from 1,000 to 100,000 lines, and what a search over HTTP takes while lines come, beside the
same searches afterwards.
"""

import argparse
import asyncio
import gzip
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import perenne
from actors.ingest.caps import Caps
from actors.ingest.parsed import Refused
from actors.ingest.reading import load_formats, read
from actors.ingest.source import Source
from actors.ingest.splitter import split, split_short
from benchmarks.house import OnnxSentences, corpus, samples_of
from benchmarks.questions.draw import draw
from benchmarks.report import Figure, publish
from perenne.api import Perenne
from perenne.ids import new_id
from perenne.messages.records import Job
from perenne.settings import Settings
from tests.live.running import RunningInstance

SHARE = 0.8  # the goal: of the loop's rate, and at 100,000 lines of the rate at 1,000
SIZES = (1_000, 10_000, 100_000)
COPIES = 6  # of the documents in one round: each with a few bytes more, so that it is another file
AT_ONCE = 4  # files on their way
TENTH = 0.1
SEARCHES = 200
PAUSE_S = 0.05  # from one search's answer to the next question


@dataclass(frozen=True, slots=True)
class Taken:
    """`units`: passages or lines. `curve`: (seconds, share that is done) while a job ran."""

    units: int
    seconds: float
    curve: tuple[tuple[float, float], ...] = ()

    @property
    def rate(self) -> float:
        return self.units / self.seconds


# What there is to take in


def documents_of(samples: Path, folder: Path, copies: int) -> list[Path]:
    """Real files that can be read, `copies` of each as plain text, HTML and PDF, which bear a few bytes more; one of others."""
    with (samples / "documents" / "manifest.tsv").open(encoding="utf-8") as rows:
        lines = [line.rstrip("\n").split("\t") for line in rows]
    at = {name: n for n, name in enumerate(lines[0])}
    good = [samples / "documents" / line[at["path"]] for line in lines[1:] if line[at["expect"]] == "ok"]
    made: list[Path] = []
    for path in good:
        several = path.name.endswith((".txt", ".html", ".pdf", ".txt.gz"))
        for n in range(copies if several else 1):
            bytes_of = path.read_bytes()
            beyond = f"\n{n}\n".encode()
            more = gzip.compress(beyond) if path.suffix == ".gz" else beyond
            made.append(folder / f"{n}-{path.name}")
            made[-1].write_bytes(bytes_of + more if several else bytes_of)
    return made


def lines_of(samples: Path) -> Iterator[str]:
    """JSON lines without end, no two alike: real passages, each with its number."""
    texts = [one for name in ("squad-es", "pubmedqa") for one in corpus(samples, name)]
    for n, one in enumerate(itertools.cycle(texts)):
        yield json.dumps({"id": f"line-{n}", "title": one.title, "text": f"{n}. {one.text}"}, ensure_ascii=False)


# Theirs


class Loop:
    """Parse, cut, embed, one after the other."""

    def __init__(self, settings: Settings, threads: int, work: Path) -> None:
        self._target, self._work = settings.ingest.chunk_chars, work
        self._embedder = OnnxSentences(Path(settings.models_dir) / settings.embedding.model, settings.embedding.space, threads)
        self._caps = Caps(
            settings.ingest.file_bytes_max, settings.ingest.pages_max, settings.ingest.text_chars_max,
            settings.ingest.memory_bytes_max, settings.ingest.cpu_s_max, settings.ingest.wall_s_max,
        )  # fmt: skip
        load_formats()
        self._embedder.vectors(["warm"])

    def documents(self, paths: Sequence[Path]) -> Taken:
        """Passages a second."""
        began, vectors = time.perf_counter(), []
        for path in paths:
            source = Source(path, path.name, self._caps)
            try:
                parsed = read(source, self._work / "parsed")
            except Refused as refusal:
                raise RuntimeError(f"{path.name}: expected a file that can be read, got: {refusal}") from refusal
            spans = split(parsed.text, parsed.blocks, self._target)
            vectors.append(self._embedder.vectors([parsed.text[span.start : span.end] for span in spans]))
        return Taken(sum(map(len, vectors)), time.perf_counter() - began)

    def lines(self, path: Path) -> Taken:
        """Lines a second."""
        began, vectors, count = time.perf_counter(), [], 0
        with path.open(encoding="utf-8") as lines:
            while part := list(itertools.islice(lines, 64)):
                texts = [json.loads(line)["text"] for line in part]
                pieces = [text[span.start : span.end] for text in texts for span in split_short(text, self._target)]
                vectors.append(self._embedder.vectors(pieces))
                count += len(part)
        return Taken(count, time.perf_counter() - began)


# Ours


class Searching:
    """Real questions, one each 50 ms: milliseconds of each while lines come, and afterwards over all of them."""

    def __init__(self, samples: Path) -> None:
        drawn = draw(samples, "perenne-ingest-1", SEARCHES // 2, 0).questions
        self._questions = itertools.cycle([one.text for one in drawn])
        self.meanwhile: list[float] = []
        self.afterwards: list[float] = []

    async def ask(self, client: Perenne, project: str, over: Callable[[], bool]) -> list[float]:
        took: list[float] = []
        while not over():
            began = time.perf_counter()
            await client.search(next(self._questions), project, k=10)
            took.append((time.perf_counter() - began) * 1000.0)
            await asyncio.sleep(PAUSE_S)
        return took

    def figures(self, lines: int) -> list[Figure]:
        named = f"{lines:,} JSON lines, a search over HTTP meanwhile"
        note = f"theirs: the same instance afterwards; {len(self.meanwhile)} and {len(self.afterwards)} searches"
        figures: list[Figure] = []
        for share, name, goal in ((0.5, "p50", ""), (0.99, "p99", "ours <= 50")):
            ours, theirs = (float(np.quantile(one, share)) for one in (self.meanwhile, self.afterwards))
            figures.append(Figure(f"{named}, {name}", ours, theirs, "ms", goal, note))
        return figures


async def _ended(client: Perenne, job_id: str, since: float) -> tuple[Job, list[tuple[float, float]]]:
    """The job, which must end well, and its curve."""
    curve: list[tuple[float, float]] = []

    def moved(job: Job) -> None:
        if job.total and (not curve or curve[-1][1] != job.done / job.total):
            curve.append((time.perf_counter() - since, job.done / job.total))

    job = await client.wait_job(job_id, moved)
    if job.state != "done":
        raise RuntimeError(f"expected {job.filename} to be taken in, got {job.state}: {job.reason}")
    return job, [*curve, (time.perf_counter() - since, 1.0)]


async def take_documents(client: Perenne, paths: Sequence[Path]) -> Taken:
    """From the first byte sent to the last job's end; forgotten afterwards, so that the next round does it all again."""
    project = await client.create_project(new_id("documents"))
    places, began = asyncio.Semaphore(AT_ONCE), time.perf_counter()

    async def one(path: Path) -> None:
        async with places:
            added = await client.add(path, project.id)
        if added.existing or added.job is None:
            raise RuntimeError(f"expected {path.name} to be new, got a document that is there already")
        await _ended(client, added.job.id, began)

    await asyncio.gather(*(one(path) for path in paths))
    seconds = time.perf_counter() - began
    passages = (await client.project(project.id)).chunks
    await client.delete_project(project.id)
    return Taken(passages, seconds)


async def take_lines(client: Perenne, path: Path, count: int, searching: "Searching | None" = None) -> Taken:
    """From the first byte sent to the job's end; every line must have become a document."""
    project, began = await client.create_project(new_id("lines")), time.perf_counter()
    ending = asyncio.create_task(_ended(client, (await client.add_jsonl(path, project.id)).id, began))
    if searching:
        searching.meanwhile = await searching.ask(client, project.id, ending.done)
    job, curve = await ending
    seconds = time.perf_counter() - began
    held = (await client.project(project.id)).documents
    if held != count or job.result["added"] != count:
        raise RuntimeError(f"expected {count:,} documents, got {held:,}; the job says {job.result}")
    if searching:
        count_of = itertools.count()
        searching.afterwards = await searching.ask(client, project.id, lambda: next(count_of) >= SEARCHES)
    await client.delete_project(project.id)
    return Taken(count, seconds, tuple(curve))


def _middle(found: Sequence[Taken]) -> float:
    return statistics.median(one.rate for one in found)


def tenths(taken: Taken) -> tuple[float, float]:
    """Units a second over the first and the last tenth."""

    def at(share: float) -> float:
        before, after = (0.0, 0.0), taken.curve[-1]
        for point in taken.curve:
            if point[1] >= share:
                after = point
                break
            before = point
        part = (share - before[1]) / max(1e-9, after[1] - before[1])
        return before[0] + part * (after[0] - before[0])

    each = taken.units * TENTH
    return each / at(TENTH), each / (taken.seconds - at(1 - TENTH))


def grown(taken: dict[int, Taken]) -> list[Figure]:
    """How the rate changes with the number of lines, and within the largest file."""
    least, most = min(taken), max(taken)
    figures = [
        Figure(f"{size:,} JSON lines", one.rate, taken[least].rate, "lines/s", f"ratio >= {SHARE}", f"theirs: at {least:,}")
        for size, one in taken.items()
    ]
    first, last = tenths(taken[most])
    named = f"{most:,} JSON lines, the last tenth"
    return [*figures, Figure(named, last, first, "lines/s", f"ratio >= {SHARE}", "theirs: the first tenth")]


def beside(named: str, unit: str, ours: Sequence[Taken], loops: dict[int, list[Taken]]) -> list[Figure]:
    """Ours beside each of the loops."""
    figures: list[Figure] = []
    for threads, theirs in loops.items():
        note = f"theirs: a plain loop, {threads} thread{'s' * (threads > 1)} for the embedder; {ours[0].units:,} in all"
        figures.append(Figure(f"{named}, loop of {threads}", _middle(ours), _middle(theirs), unit, f"ratio >= {SHARE}", note))
    return figures


async def measured(running: RunningInstance, samples: Path, sizes: Sequence[int], rounds: int, copies: int) -> list[Figure]:
    """Everything; ours and theirs by turns."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        paths = documents_of(samples, folder, copies)
        source = lines_of(samples)
        files: dict[int, Path] = {}
        for size in sizes:
            files[size] = folder / f"{size}.jsonl"
            await asyncio.to_thread(files[size].write_text, "\n".join(itertools.islice(source, size)) + "\n", "utf-8")
        loops = {threads: Loop(running.settings, threads, folder) for threads in sorted({1, os.cpu_count() or 1})}
        async with perenne.connect(running.address, key=running.key) as client:
            await take_documents(client, paths[:AT_ONCE])  # parsers are loaded with the first file; the loop has them by now
            mine: list[Taken] = []
            its: dict[int, list[Taken]] = {threads: [] for threads in loops}
            for _ in range(rounds):
                mine.append(await take_documents(client, paths))
                for threads, loop in loops.items():
                    its[threads].append(await asyncio.to_thread(loop.documents, paths))
            short = [one for all_ in its.values() for one in all_ if one.units != mine[0].units]
            if short:
                raise RuntimeError(f"expected as many passages of both, got {mine[0].units:,} and {short[0].units:,}")
            figures += beside(f"{len(paths)} real documents", "passages/s", mine, its)
            mine, its = [], {threads: [] for threads in loops}
            for _ in range(rounds):
                mine.append(await take_lines(client, files[min(sizes)], min(sizes)))
                for threads, loop in loops.items():
                    its[threads].append(await asyncio.to_thread(loop.lines, files[min(sizes)]))
            figures += beside(f"{min(sizes):,} JSON lines", "lines/s", mine, its)
            taken = {min(sizes): Taken(min(sizes), statistics.median(one.seconds for one in mine), mine[-1].curve)}
            for size in sorted(sizes)[1:]:
                taken[size] = await take_lines(client, files[size], size)
                print(f"{size:,} lines: {taken[size].rate:.0f} a second", file=sys.stderr, flush=True)
            figures += grown(taken)
            middle, searching = sorted(sizes)[len(sizes) // 2], Searching(samples)
            await take_lines(client, files[middle], middle, searching)
            figures += searching.figures(middle)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", help="a folder with documents/ and retrieval/ in it; else PERENNE_SAMPLES")
    parser.add_argument("--lines", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=COPIES)
    given = parser.parse_args()
    samples = samples_of(given.samples)
    running = RunningInstance()
    (running.home / "config.yaml").write_text("edge:\n  requests_per_minute: 10000000\n")
    try:
        running.start()
        figures = asyncio.run(measured(running, samples, given.lines, given.rounds, given.copies))
    finally:
        running.close()
    return 0 if publish("ingest", figures, profile="tiny", rounds=given.rounds, lines=given.lines) else 1


if __name__ == "__main__":
    sys.exit(main())
