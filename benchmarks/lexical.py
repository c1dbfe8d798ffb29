"""Quality and speed of search by words alone, on both databases: `python -m benchmarks.lexical FOLDER [--copies N]`.

FOLDER holds corpus.jsonl.gz, queries.jsonl and qrels.tsv (BEIR's layout). The figure is nDCG@10; `--copies` fills the store with the
corpus that many times under another project, to see what a search costs in a larger house. Without PERENNE_DATABASE_URL, an empty
database, SQLite alone is measured. `questions in the same order` counts those whose ten best are the same on both.
"""

import argparse
import gzip
import json
import math
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from actors.store.database import writing_engine
from actors.store.fulltext import search_text
from actors.store.reader import ReaderCore
from actors.store.writer import WriterCore
from perenne.messages import commands as c
from perenne.messages.search import Filters

BATCH = 200


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--language", default=None, help="of the passages, as ingest would have found it")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--copies", type=int, default=0)
    arguments = parser.parse_args()
    with gzip.open(arguments.folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        corpus = [json.loads(line) for line in file]
    queries = {q["_id"]: q["text"] for q in map(json.loads, (arguments.folder / "queries.jsonl").open(encoding="utf-8"))}
    judged: dict[str, dict[str, int]] = {}
    for line in (arguments.folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        judged.setdefault(query, {})[document] = int(grade)
    asked = random.Random(7).sample(sorted(judged), min(arguments.queries, len(judged)))
    home = Path(tempfile.mkdtemp(prefix="perenne-lexical-"))
    databases = {"SQLite": f"sqlite:///{home / 'perenne.db'}"}
    if url := os.environ.get("PERENNE_DATABASE_URL"):
        databases["PostgreSQL"] = url
    texts = [(d["_id"], d.get("title", ""), d["text"]) for d in corpus]
    try:
        orders = [
            measure(name, url, texts, arguments, [(queries[id], judged[id]) for id in asked]) for name, url in databases.items()
        ]
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if len(orders) == 2:
        print(f"{sum(one == other for one, other in zip(*orders, strict=True))} of {len(asked)} questions in the same order")


def measure(
    name: str,
    url: str,
    texts: list[tuple[str, str, str]],
    arguments: argparse.Namespace,
    questions: list[tuple[str, dict[str, int]]],
) -> list[list[str]]:
    """Fill, ask, say; the ten best of each question."""
    core = WriterCore(url)
    core.open()
    core.submit((c.CreateUser(command_id="u", user_id="system", new_user_id="owner", name="Owner"),)).result(10)
    began = time.perf_counter()
    fill(core, "own", texts, arguments.language)
    print(f"{name}: {len(texts)} passages in {time.perf_counter() - began:.1f} s")
    for copy in range(arguments.copies):
        fill(core, f"copy{copy}", texts, arguments.language)
    core.close()
    if not url.startswith("sqlite"):
        settle_server(url)
    reader = ReaderCore(url)
    reader.open()
    scores: list[float] = []
    took: list[float] = []
    orders: list[list[str]] = []
    for question, relevant in questions:
        began = time.perf_counter()
        hits = reader.ask(search_text, reader.counted, "owner", "own", question, 10, Filters())
        took.append(1000 * (time.perf_counter() - began))
        rows = reader.ask(lambda conn, ids=hits.ids: _names(conn, ids))
        orders.append([rows[hit] for hit in hits.ids])
        scores.append(ndcg(orders[-1], relevant))
    reader.close()
    cuts = statistics.quantiles(took, n=20)
    figure = f"nDCG@10 {statistics.mean(scores):.4f} of {len(questions)} questions"
    print(f"{name}: {figure}; {cuts[9]:.1f} ms at the median, {cuts[18]:.1f} at p95")
    return orders


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
    main()
