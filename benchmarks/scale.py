"""An instance with much in it, on both databases: `python -m benchmarks.scale [--chunks N]`.

Through the real cores in this process: 20,000 documents of five passages each are stored and indexed, hybrid search and the reads behind
the API are timed beside FAISS and FTS5 asked one after the other, and the instance is opened once more. Texts and vectors are drawn
(`benchmarks/hybrid.py`), so that no model's time is in it. PERENNE_DATABASE_URL, an empty database, adds PostgreSQL.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from actors.runs.search import Searcher
from benchmarks.house import USER
from benchmarks.hybrid import ASKED, DrawnHouse, Theirs, Vocabulary, texts_of
from benchmarks.report import Figure, publish
from benchmarks.vectors import CHUNKS, Floats, drawn
from perenne.messages.search import SearchRequest

READS = 300  # of each kind


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=int, default=100_000, help="a multiple of 5")
    given = parser.parse_args()
    if given.chunks < 100 or given.chunks % CHUNKS:
        raise SystemExit(f"--chunks: expected a multiple of {CHUNKS} from 100 on, got {given.chunks}")
    url = os.environ.get("PERENNE_DATABASE_URL")
    databases = {"SQLite": None, **({"PostgreSQL": url} if url else {})}
    figures: list[Figure] = []
    for name, database in databases.items():
        with tempfile.TemporaryDirectory(prefix="perenne-scale-") as folder:
            figures += asyncio.run(measured(name, Path(folder), given.chunks, database))
    publish("scale", figures, chunks=given.chunks, documents=given.chunks // CHUNKS, databases=list(databases))


async def measured(name: str, folder: Path, chunks: int, database: str | None) -> list[Figure]:
    """One database's rows."""
    vocabulary, vectors = Vocabulary(), np.concatenate(list(drawn(chunks, 0)))
    texts, passages = texts_of(vocabulary, chunks)
    house = DrawnHouse(folder / "home", vectors, database)
    await house.begin()
    began = time.perf_counter()
    project = await house.project("drawn", texts)
    await house.caught_up()
    stored_s = time.perf_counter() - began
    theirs = Theirs(folder, vectors, passages)
    figures = [
        Figure(f"{name}: stored and indexed", chunks / stored_s, None, "chunks/s", note=f"{stored_s:.0f} s in all, one caller"),
        *await _searches(name, house, vocabulary, project, theirs),
        await _reads(name, house, project),
        Figure(f"{name}: on disk", _bytes_of(folder / "home", database) / 1e9, None, "GB"),
    ]
    await house.close()
    figures.append(await _opened_again(name, folder / "home", vectors, database))
    return figures


async def _searches(name: str, house: DrawnHouse, vocabulary: Vocabulary, project: str, theirs: Theirs) -> list[Figure]:
    searcher = Searcher(house.directory, house.store, house.settings)
    mine, its = list[float](), list[float]()
    for n in range(ASKED):
        words = vocabulary.question()
        request = SearchRequest(user_id=USER, query=words, project_id=project, k=10)
        began = time.perf_counter()
        response = await searcher.search(request)
        mine.append((time.perf_counter() - began) * 1000.0)
        if response.degraded is not None or len(response.hits) != 10:
            raise SystemExit(f"expected ten hits of both halves, got {len(response.hits)}, {response.degraded}")
        began = time.perf_counter()
        theirs.search(words, house.drawn.vectors[n])
        its.append((time.perf_counter() - began) * 1000.0)
    return [
        Figure(f"{name}: one search, p50", statistics.median(mine), statistics.median(its), "ms", note="theirs: both, unfused"),
        Figure(f"{name}: one search, p99", float(np.quantile(mine, 0.99)), float(np.quantile(its, 0.99)), "ms"),
    ]


async def _reads(name: str, house: DrawnHouse, project: str) -> Figure:
    """The worst p99 of the reads that pages and clients make all the time."""
    read = house.store.read
    document = (await read("documents", user_id=USER, project_id=project, limit=1, after=None)).items[0].id
    kinds: dict[str, Callable[[], Awaitable[Any]]] = {
        "projects": lambda: read("projects", user_id=USER, limit=50, after=None),
        "project": lambda: read("project", user_id=USER, project=project),
        "documents": lambda: read("documents", user_id=USER, project_id=project, limit=50, after=None),
        "document": lambda: read("document", user_id=USER, document_id=document),
        "jobs": lambda: read("jobs", user_id=USER, limit=50, after=None),
    }
    worst, slowest = 0.0, ""
    for kind, ask in kinds.items():
        took = list[float]()
        for _ in range(READS):
            began = time.perf_counter()
            await ask()
            took.append((time.perf_counter() - began) * 1000.0)
        if (p99 := float(np.quantile(took, 0.99))) > worst:
            worst, slowest = p99, kind
    return Figure(f"{name}: slowest kind of read, p99", worst, None, "ms", "ours <= 5", f"{slowest}; of {', '.join(kinds)}")


async def _opened_again(name: str, home: Path, vectors: Floats, database: str | None) -> Figure:
    """Until what was there is found again."""
    began = time.perf_counter()
    house = DrawnHouse(home, vectors, database)
    await house.begin()
    await house.caught_up()
    took_s = time.perf_counter() - began
    await house.close()
    return Figure(f"{name}: opened again", took_s, None, "s", note="store, reader and shard ready, all vectors there")


def _bytes_of(home: Path, database: str | None) -> int:
    files = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    if database is None:
        return files
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return files + int(row[0])


if __name__ == "__main__":
    main()
