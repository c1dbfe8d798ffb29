"""Quality and speed of search by words alone, on both databases: `python -m benchmarks.lexical [FOLDER…] [--copies N]`.

Each FOLDER holds corpus.jsonl.gz, queries.jsonl and qrels.tsv (BEIR's layout); without one, the two collections under PERENNE_SAMPLES.
Figures are nDCG@10, and how many questions have the same ten best in the same order on both; `--copies` fills the store with the
corpus that many times under another project, to see what a search costs in a larger house. PostgreSQL is a server of its own for the
while, or the empty database that PERENNE_DATABASE_URL names; SQLite alone is measured where there is neither.
"""

import argparse
import gzip
import json
import math
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.store.database import writing_engine
from actors.store.fulltext import search_text
from actors.store.reader import ReaderCore
from actors.store.writer import WriterCore
from benchmarks.house import samples_of
from benchmarks.report import Figure, publish
from perenne.messages import commands as c
from perenne.messages.search import Filters
from tests.postgresql import Cluster, binaries

BATCH = 200
LANGUAGES = {"squad-es": "es", "pubmedqa": "en"}  # of the collections' passages, as ingest finds them
APART = 0.01  # the goal: nDCG@10 on one database and on the other


@dataclass(frozen=True, slots=True)
class Collection:
    """`texts`: id, title, text. `questions`: the words, and which documents answer them how well."""

    name: str
    texts: list[tuple[str, str, str]]
    questions: list[tuple[str, dict[str, int]]]


@dataclass(frozen=True, slots=True)
class Measured:
    """`orders`: the ten best of each question. `passage_ms`, `search_ms`: wall time, the search's at the median."""

    ndcg: float
    orders: list[list[str]]
    passage_ms: float
    search_ms: float


def fill(core: WriterCore, project: str, texts: list[tuple[str, str, str]], language: str | None) -> None:
    """Documents of one passage each."""

    def do(*sent: c.Command) -> list[object]:
        outcomes = core.submit(sent).result(120)
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        return [outcome.value for outcome in outcomes]

    do(c.CreateProject(command_id=f"p-{project}", user_id="owner", project_id=project, name=project))
    job = c.AddJsonLines(
        command_id=f"j-{project}", user_id="owner", job_id=f"j-{project}", project_id=project, blob_hash="0", size_bytes=1
    )
    do(job)
    lease = c.LeaseJobs(command_id=f"l-{project}", user_id=c.SYSTEM_USER, worker="w", limit=1, lease_s=3600)
    ((held,),) = do(lease)  # type: ignore[misc]
    for at in range(0, len(texts), BATCH):
        documents = tuple(
            c.IndexedDocument(
                document_id=f"{project}-{id}",
                external_id=id,
                title=title,
                text=text,
                chunks=(c.NewChunk(ordinal=0, text=text, start=0, end=len(text), language=language),),
                vectors=b"",
            )
            for id, title, text in texts[at : at + BATCH]
        )
        do(
            c.StoreDocuments(
                command_id=f"s-{project}-{at}",
                user_id=c.SYSTEM_USER,
                job_id=held.id,
                lease_token=held.lease_token,
                lease_s=3600,
                project_id=project,
                space="none",
                documents=documents,
            )
        )
    end = c.FinishJob(
        command_id=f"f-{project}", user_id=c.SYSTEM_USER, job_id=held.id, lease_token=held.lease_token, state="done"
    )
    do(end)


def ndcg(ranked: list[str], relevant: dict[str, int]) -> float:
    gained = sum((2 ** relevant.get(id, 0) - 1) / math.log2(i + 2) for i, id in enumerate(ranked))
    ideal = sum((2**grade - 1) / math.log2(i + 2) for i, grade in enumerate(sorted(relevant.values(), reverse=True)[:10]))
    return gained / ideal if ideal else 0.0


def collection(folder: Path, limit: int) -> Collection:
    """What a folder holds; of its questions at most so many, drawn by lot, always the same."""
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        corpus = [json.loads(line) for line in file]
    queries = {q["_id"]: q["text"] for q in map(json.loads, (folder / "queries.jsonl").open(encoding="utf-8"))}
    judged: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        judged.setdefault(query, {})[document] = int(grade)
    asked = random.Random(7).sample(sorted(judged), min(limit, len(judged)))
    texts = [(d["_id"], d.get("title", ""), d["text"]) for d in corpus]
    return Collection(folder.name, texts, [(queries[id], judged[id]) for id in asked])


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """SQLite in a folder, and PostgreSQL where there is one; gone afterwards, but for what the owner named."""
    home = Path(tempfile.mkdtemp(prefix="perenne-lexical-"))
    found = {"SQLite": f"sqlite:///{home / 'perenne.db'}"}
    server: Cluster | None = None
    try:
        if url := os.environ.get("PERENNE_DATABASE_URL"):
            found["PostgreSQL"] = url
        elif programs := binaries():
            server = Cluster(programs)
            found["PostgreSQL"] = server.address(server.database())
        else:
            print("PostgreSQL is not here: SQLite alone", file=sys.stderr)
        yield found
    finally:
        if server is not None:
            server.close()
        shutil.rmtree(home, ignore_errors=True)


def measure(url: str, given: Collection, copies: int) -> Measured:
    """Fill, and ask."""
    core = WriterCore(url)
    core.open()
    core.submit((c.CreateUser(command_id="u", user_id="system", new_user_id="owner", name="Owner"),)).result(10)
    began = time.perf_counter()
    fill(core, given.name, given.texts, LANGUAGES.get(given.name))
    passage_ms = 1000 * (time.perf_counter() - began) / len(given.texts)
    for copy in range(copies):
        fill(core, f"{given.name} copy {copy}", given.texts, LANGUAGES.get(given.name))
    core.close()
    if not url.startswith("sqlite"):
        settle_server(url)
    reader = ReaderCore(url)
    reader.open()
    scores: list[float] = []
    took: list[float] = []
    orders: list[list[str]] = []
    for question, relevant in given.questions:
        began = time.perf_counter()
        hits = reader.ask(search_text, reader.counted, "owner", given.name, question, 10, Filters())
        took.append(1000 * (time.perf_counter() - began))
        rows = reader.ask(lambda conn, ids=hits.ids: _names(conn, ids))
        orders.append([rows[hit] for hit in hits.ids])
        scores.append(ndcg(orders[-1], relevant))
    reader.close()
    return Measured(statistics.mean(scores), orders, passage_ms, statistics.median(took))


def figures(given: Collection, found: dict[str, Measured]) -> list[Figure]:
    """PostgreSQL beside SQLite, or SQLite alone."""
    note = f"{len(given.texts):,} passages, {len(given.questions):,} questions"
    sqlite, other = found["SQLite"], found.get("PostgreSQL")
    if other is None:
        return [
            Figure(f"{given.name}: nDCG@10, SQLite", sqlite.ndcg, note=note),
            Figure(f"{given.name}: search, SQLite, p50", sqlite.search_ms, unit="ms"),
        ]
    alike = sum(one == two for one, two in zip(sqlite.orders, other.orders, strict=True))
    asked = len(given.questions)
    return [
        Figure(f"{given.name}: nDCG@10, PostgreSQL", other.ndcg, sqlite.ndcg, note=f"theirs: SQLite; {note}"),
        Figure(f"{given.name}: nDCG@10 apart", abs(other.ndcg - sqlite.ndcg), goal=f"ours <= {APART}"),
        Figure(f"{given.name}: ten best the same", alike, asked, "questions", note="theirs: those asked"),
        Figure(f"{given.name}: a passage added, PostgreSQL", other.passage_ms, sqlite.passage_ms, "ms", note="theirs: SQLite"),
        Figure(f"{given.name}: search, PostgreSQL, p50", other.search_ms, sqlite.search_ms, "ms", note="theirs: SQLite"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="*")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--copies", type=int, default=0)
    arguments = parser.parse_args()
    folders = arguments.folder or [samples_of(None) / "retrieval" / name for name in LANGUAGES]
    rows: list[Figure] = []
    with databases() as each:
        for given in (collection(folder, arguments.queries) for folder in folders):
            rows += figures(given, {name: measure(url, given, arguments.copies) for name, url in each.items()})
    return 0 if publish("lexical", rows, copies=arguments.copies) else 1


def settle_server(url: str) -> None:
    """What autovacuum does within a minute: figures for the planner, and pages known to be visible to all."""
    with writing_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM ANALYZE")


def _names(conn, ids):
    from sqlalchemy import select

    from actors.store.tables import chunks, documents

    found = conn.execute(
        select(chunks.c.id, documents.c.external_id)
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(chunks.c.id.in_(ids))
    )
    return {row.id: row.external_id for row in found}


if __name__ == "__main__":
    sys.exit(main())
