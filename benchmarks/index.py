"""Vector search beside FAISS in process, and whole hybrid search beside FAISS and FTS5: `python -m benchmarks.index [--rows N] [--no-hybrid]`.

The vectors are drawn (`benchmarks/vectors.py`), five to a document, all of one user; FAISS has the graph, the depth of walk and the bytes that
ours has. Both sides answer each question by turns, on one thread. Recall counts hits as good as the tenth
of an exact search. `--rows 1000000` is done once, by hand: it takes half an hour and 6 GB."""

import argparse
import asyncio
import os
import random
import re
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import faiss as real_faiss
import numpy as np

from actors.index import guide, policy
from actors.index.follower import Follower
from actors.index.shard import Shard
from actors.index.snapshot import ShardSpec
from benchmarks.house import OnnxSentences, corpus, samples_of
from benchmarks.house import rows as lines_of
from benchmarks.report import Figure, publish
from benchmarks.vectors import CHUNKS, DIMENSION, SHARES, USER, Floats, drawn, items, page, questions, rows_of
from perenne.messages.search import Feed, ShardQuery

faiss = cast("Any", real_faiss)
K = 10
SPEC = ShardSpec("space", "drawn")
SENTENCES = 20_000
RATE = 500  # rows a second while ingesting, twice what the embedder gives on two cores


def asked(vector: Floats, project: str) -> ShardQuery:
    return ShardQuery(vector=vector.astype("<f4").tobytes(), k=K, user_id=USER, project_ids=(project,))


class Clock:
    """The wall's, or with `--cpu` the processor time of this thread, for a machine that others use."""

    cpu = False

    @classmethod
    def now(cls) -> float:
        return time.thread_time() if cls.cpu else time.perf_counter()


def timed(do: Callable[[], Any]) -> tuple[float, Any]:
    began = Clock.now()
    answer = do()
    return (Clock.now() - began) * 1000.0, answer


def p50(took: Sequence[float]) -> float:
    return statistics.median(took)


def p99(took: Sequence[float]) -> float:
    return float(np.quantile(np.array(took), 0.99))


class Ours:
    """A shard of one kind. `limits` may change between two openings: the graph is kept."""

    def __init__(self, folder: Path, kind: str, rows: int) -> None:
        memory = (1 << 60) if kind != "sq8" else 0
        self.limits = policy.Limits(kind=cast("Any", kind), graph_rows=min(policy.GRAPH_ROWS, rows // 2), memory_bytes=memory)
        self.shard = Shard(folder, SPEC, limits=self.limits)
        self.opened_s = timed(self.shard.open)[0] / 1000.0

    def fill(self, blocks: Iterable[Floats]) -> float:
        """Feed it as a rebuild from the database does; seconds."""
        began, row = Clock.now(), self.shard.applied * CHUNKS
        for block in blocks:
            self.shard.apply(page(items(block, row)))
            self.shard.keep(behind=True)
            row += len(block)
        self.shard.merge()
        return Clock.now() - began

    def link(self) -> float:
        began = Clock.now()
        while self.shard.link():
            print(self.shard.figures(), file=sys.stderr, flush=True)
        return Clock.now() - began

    def search(self, vector: Floats, project: str = "all") -> tuple[float, list[float]]:
        took, hits = timed(lambda: self.shard.search(asked(vector, project)))
        return took, list(hits.scores)


class Theirs:
    """FAISS in this process: every row, or the very graph that ours has, its vectors or bytes in memory."""

    def __init__(self, ours: Ours) -> None:
        sealed = ours.shard._sealed
        assert sealed.base is not None
        self.flat = faiss.IndexFlatIP(DIMENSION)
        for at in range(0, sealed.base.count, 10_000):
            self.flat.add(np.ascontiguousarray(sealed.base.vectors[at : at + 10_000]))
        self.graph: Any = None

    def walk(self, ours: Ours, folder: Path) -> None:
        """Take up the graph of ours."""
        sealed = ours.shard._sealed
        assert sealed.graph_file is not None
        self.graph = faiss.read_index(str(folder / sealed.graph_file[0]))
        self.walked = self.flat if sealed.codes_file is None else faiss.read_index(str(folder / sealed.codes_file[0]))
        self.graph.storage, self.graph.own_fields = self.walked, False
        self.depth = faiss.SearchParametersHNSW(efSearch=guide.EF)

    def search(self, vector: Floats) -> float:
        faiss.omp_set_num_threads(1)
        if self.graph is None:
            return timed(lambda: self.flat.search(vector[None], K))[0]
        return timed(lambda: self.graph.search(vector[None], K, params=self.depth))[0]

    def best(self, vectors: Floats, project: str, rows: int) -> Floats:
        """The exact scores of the ten best in a project."""
        bits = np.packbits(rows_of(project, rows), bitorder="little")
        parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        return self.flat.search(vectors, K, params=parameters)[0]


def compared(kind: str, ours: Ours, theirs: Theirs, vectors: Floats, rows: int, truth: dict[str, Floats]) -> list[Figure]:
    """One kind beside FAISS, and at each share of rows that a filter lets through."""
    for vector in vectors[:20]:
        ours.search(vector)
        theirs.search(vector)
    mine, its = [], []
    for vector in vectors:
        its.append(theirs.search(vector))
        mine.append(ours.search(vector)[0])
    goal = "ratio <= 1.3" if kind == "flat" else f"ours <= {p50(its) + 1.5:.3f}"
    figures = [
        Figure(f"{kind}: one search, p50", p50(mine), p50(its), "ms", goal),
        Figure(f"{kind}: one search, p99", p99(mine), p99(its), "ms"),
    ]
    return figures + recalls(kind, ours, vectors, truth)


def recalls(kind: str, ours: Ours, vectors: Floats, truth: dict[str, Floats]) -> list[Figure]:
    """What is found at each share of rows that a filter lets through."""
    figures: list[Figure] = []
    for project, share in SHARES.items():
        took, good, short, wanted = [], 0, 0, 0
        for vector, best in zip(vectors, truth[project], strict=True):
            ms, scores = ours.search(vector, project)
            there = int((best > -2).sum())  # fewer than ten where fewer rows are in the project
            took.append(ms)
            wanted += there
            short += len(scores) < there
            good += sum(score >= best[there - 1] - 1e-5 for score in scores)
        note = f"p50 {p50(took):.2f} ms, p99 {p99(took):.2f} ms, {short} of {len(vectors)} answers short"
        figures.append(Figure(f"{kind}: recall@10 at {100 / share:g} % of rows", good / wanted, None, "", "ours >= 0.95", note))
    return figures


def of_sentences(folder: Path, samples: Path, models: Path) -> list[Figure]:
    """Recall on the sentences of the samples and on their questions, by the default embedder."""
    embedder = OnnxSentences(models / "use-multilingual-q8", "sentences")
    sets = ("squad-es", "pubmedqa")
    sentences = [each for name in sets for text in corpus(samples, name) for each in re.split(r"(?<=[.!?])\s+", text.text)]
    asked_for = [row["text"] for name in sets for row in lines_of(samples, name, "queries.jsonl")]
    chance = random.Random(1)
    vectors = embedder.vectors(chance.sample(sentences, min(len(sentences), SENTENCES)))
    vectors = vectors[: len(vectors) // CHUNKS * CHUNKS]
    asking = embedder.vectors(chance.sample(asked_for, 300))
    figures: list[Figure] = []
    theirs: Theirs | None = None
    for kind in ("hnsw", "sq8"):
        ours = Ours(folder, kind, len(vectors))
        if ours.shard.applied == 0:
            ours.fill([vectors])
        ours.link()
        theirs = theirs or Theirs(ours)
        truth = {project: theirs.best(asking, project, len(vectors)) for project in SHARES}
        figures += recalls(f"{len(vectors):,} sentences, {kind}", ours, asking, truth)
        ours.shard.close()
    return figures


class GrowingFeed:
    """Documents that come at a steady rate, each tenth in the place of an older one."""

    def __init__(self, rows: int) -> None:
        self._made = items(next(drawn(10_000, 3)), rows)
        for n in range(9, len(self._made), 10):
            self._made[n] = cast("Any", type(self._made[n]))(
                **{name: getattr(self._made[n], name) for name in self._made[n].__slots__} | {"document_id": f"doc_{n}"}
            )
        self._first, self._began = self._made[0].seq, time.monotonic()

    def head(self) -> int:
        come = int((time.monotonic() - self._began) * RATE / CHUNKS)
        return self._first - 1 + min(come, len(self._made))

    async def feed(self, after_seq: int, limit_bytes: int) -> Feed:
        head = self.head()
        made = tuple(self._made[max(0, after_seq + 1 - self._first) : max(0, head + 1 - self._first)])
        return Feed(items=made, upto=max(head, after_seq), head=max(head, after_seq))

    async def heads(self, after: int) -> AsyncIterator[int]:
        while True:
            yield max(after, self.head())
            await asyncio.sleep(0.05)


def while_ingesting(kind: str, ours: Ours, vectors: Floats, rows: int, seconds: float) -> list[Figure]:
    """Searches while the shard follows a feed, merges and links, in one process as in its actor."""
    follower = Follower(ours.shard, lambda: cast("Any", GrowingFeed(rows)))
    stop = threading.Event()
    before = ours.shard.applied

    def merging() -> None:
        while not stop.wait(5.0):
            ours.shard.merge()

    merger = threading.Thread(target=merging)
    follower.start()
    merger.start()
    took: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        ours.search(vectors[len(took) % len(vectors)])
        took.append((time.perf_counter() - began) * 1000.0)
        time.sleep(0.01)
    stop.set()
    merger.join()
    follower.stop()
    come = (ours.shard.applied - before) * CHUNKS
    note = f"{come} rows came, a merge each 5 s; p50 {p50(took):.2f} ms, worst {max(took):.1f} ms of {len(took)}"
    return [Figure(f"{kind}: one search while ingesting {RATE} rows a second, p99", p99(took), None, "ms", "ours <= 50", note)]


def through_an_actor(kind: str, folder: Path, ours: Ours, vectors: Floats) -> list[Figure]:
    """The same shard in a Ray actor of its own, asked from here."""
    import ray

    limits = ours.limits

    class Held:
        def __init__(self) -> None:
            self._shard = Shard(folder, SPEC, limits=limits)
            self._shard.open()

        async def search(self, query: ShardQuery) -> Any:
            return await asyncio.to_thread(self._shard.search, query)

    actor: Any = cast("Any", ray.remote(num_cpus=0)(Held)).remote()
    ray.get(actor.search.remote(query=asked(vectors[0], "all")))
    took: list[float] = []
    for vector in vectors:
        began = time.perf_counter()
        ray.get(actor.search.remote(query=asked(vector, "all")))
        took.append((time.perf_counter() - began) * 1000.0)
    ray.kill(actor)
    return [Figure(f"{kind}: one search through a Ray actor, p50", p50(took), None, "ms", note=f"p99 {p99(took):.2f} ms")]


def of_kind(kind: str, folder: Path, given: argparse.Namespace, theirs: Theirs | None) -> tuple[list[Figure], Theirs]:
    """All figures of one kind; `folder` holds the base, and the graph if one was made."""
    ours = Ours(folder, kind, given.rows)
    figures: list[Figure] = []
    if ours.shard.applied == 0:
        took = ours.fill(drawn(given.rows, 0))
        figures.append(Figure("filled from the feed", given.rows / took, None, "rows/s", note=f"{took:.1f} s"))
    else:
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        note = f"{size / 1e6:,.0f} MB, every byte hashed"
        figures.append(Figure(f"opened for {kind}", ours.opened_s, None, "s", note=note))
    before = ours.shard.figures()["linked"]
    took = ours.link()
    if kind != "flat":
        made = ours.shard.figures()["linked"] - before
        figures.append(Figure(f"{kind}: linked", made / took, None, "rows/s", note=f"{made} rows in {took:.1f} s"))
    theirs = theirs or Theirs(ours)
    if kind != "flat":
        theirs.walk(ours, folder)
    vectors = questions(given.questions)
    truth = {project: theirs.best(vectors, project, given.rows) for project in SHARES}
    figures += compared(kind, ours, theirs, vectors, given.rows, truth)
    ours.shard.close()
    if not given.no_actor:
        figures += through_an_actor(kind, folder, ours, vectors)
    if given.ingest_s:
        aside = folder.parent / f"ingesting-{kind}"
        shutil.copytree(folder, aside)
        growing = Ours(aside, kind, given.rows)
        figures += while_ingesting(kind, growing, vectors, given.rows, given.ingest_s)
        growing.shard.close()
        shutil.rmtree(aside)
    return figures, theirs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--kinds", nargs="+", default=["flat", "hnsw", "sq8"])
    parser.add_argument("--ingest-s", type=float, default=20.0, help="seconds of searching while rows come, for each kind")
    parser.add_argument("--no-actor", action="store_true")
    parser.add_argument("--models", default="build/models", type=Path)
    parser.add_argument("--no-hybrid", action="store_true")
    parser.add_argument(
        "--cpu", action="store_true", help="count this thread's processor time where it can stand for the wall's"
    )
    given = parser.parse_args()
    Clock.cpu = given.cpu
    folder = Path(tempfile.mkdtemp(prefix="perenne-index-"))
    figures: list[Figure] = []
    theirs: Theirs | None = None
    try:
        if not given.no_actor:
            os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")  # on a busy machine
            import ray

            ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=str(folder / "ray"))
        for kind in given.kinds:
            more, theirs = of_kind(kind, folder / "shard", given, theirs)
            figures += more
            print(*(f"{one.figure}: {one.ours:.4g} {one.theirs or ''} {one.note}" for one in more), sep="\n", flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        figures.append(Figure("most memory of this process, FAISS's copies included", peak, None, "GB"))
        if os.environ.get("PERENNE_SAMPLES"):
            figures += of_sentences(folder / "sentences", samples_of(None), given.models.resolve())
        if not given.no_hybrid:
            from benchmarks.hybrid import measured

            figures += asyncio.run(measured(folder / "home", given.rows, given.ingest_s, given.cpu))
        name = "index" if given.rows == 100_000 else f"index-{given.rows}"
        return 0 if publish(name, figures, vectors=given.rows, clock="processor" if given.cpu else "wall") else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
