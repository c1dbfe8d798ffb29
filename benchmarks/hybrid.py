"""Whole hybrid search through the real cores of one instance, beside FAISS and FTS5 asked one after the other in this process.

Texts are drawn words (20,000 of them, as often as their rank says), 500 characters to a passage, five passages to a document; questions are six
words from the middle of the list. The question's vector is drawn too: what the embedder takes is left out on both sides."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import faiss as real_faiss
import numpy as np
import pysqlite3 as real_sqlite

from actors.runs.search import POOL, Searcher
from benchmarks.house import USER, House, Text
from benchmarks.report import Figure
from benchmarks.vectors import CHUNKS, DIMENSION, Floats, drawn, questions
from perenne.ids import new_id
from perenne.messages.commands import IndexedDocument, NewChunk
from perenne.messages.models import Embeddings, EmbedRequest
from perenne.messages.search import SearchRequest

faiss, sqlite = cast("Any", real_faiss), cast("Any", real_sqlite)
WORDS = 20_000
PASSAGE_WORDS = 70
ASKED = 200
MIDDLE = (100, 5_000)  # ranks of the words that questions are made of
PAUSE_S = 0.01  # between two searches while documents come


class Vocabulary:
    """Seeded words and texts."""

    def __init__(self) -> None:
        self._chance = np.random.default_rng(11)
        letters = np.array(list("abcdefghilmnoprstu"))
        lengths = self._chance.integers(3, 11, WORDS)
        self.words = ["".join(self._chance.choice(letters, n)) for n in lengths]
        weights = 1.0 / np.arange(1, WORDS + 1)
        self._weights = weights / weights.sum()

    def passages(self, count: int) -> list[str]:
        drawn_words = self._chance.choice(WORDS, (count, PASSAGE_WORDS), p=self._weights)
        return [" ".join(self.words[n] for n in row) for row in drawn_words]

    def question(self) -> str:
        return " ".join(self.words[n] for n in self._chance.integers(*MIDDLE, 6))


class DrawnVectors:
    """Answers the `n`th new question with the `n`th drawn vector."""

    def __init__(self, space: str) -> None:
        self._space, self.vectors, self.asked = space, questions(ASKED), dict[str, int]()

    async def embed(self, request: EmbedRequest) -> Embeddings:
        row = self.vectors[self.asked.setdefault(request.texts[0], len(self.asked) % ASKED)]
        return Embeddings(space=self._space, dimension=DIMENSION, count=1, data=row.astype("<f4").tobytes())


class DrawnHouse(House):
    """A house whose passages have drawn vectors. `title` of a text is the number of its first row."""

    def __init__(self, home: Path, vectors: Floats, database: str | None = None) -> None:
        self.drawn = DrawnVectors("use-multilingual-q8")
        super().__init__(home, home / "models", embedder=self.drawn, database=database, answers=False)
        self._vectors = vectors

    def indexed(self, texts: Sequence[Text]) -> tuple[IndexedDocument, ...]:
        return tuple(self._document(one) for one in texts)

    def _document(self, one: Text) -> IndexedDocument:
        row, at, chunks = int(one.title), 0, list[NewChunk]()
        for n, passage in enumerate(one.text.split("\n")):
            chunks.append(NewChunk(ordinal=n, text=passage, start=at, end=at + len(passage), language="en"))
            at += len(passage) + 1
        vectors = self._vectors[row : row + len(chunks)].astype("<f4").tobytes()
        return IndexedDocument(
            document_id=new_id("doc"), title=one.title, text=one.text, chunks=tuple(chunks), vectors=vectors, language="en"
        )


class Theirs:
    """FAISS's flat index and one FTS5 table, in this process."""

    def __init__(self, folder: Path, vectors: Floats, passages: list[str]) -> None:
        self._flat = faiss.IndexFlatIP(DIMENSION)
        self._flat.add(vectors)
        self._words = sqlite.connect(str(folder / "theirs.db"), check_same_thread=False)
        self._words.execute("CREATE VIRTUAL TABLE passages USING fts5(body, tokenize='porter unicode61')")
        self._words.executemany("INSERT INTO passages (body) VALUES (?)", [(each,) for each in passages])
        self._words.commit()

    def search(self, words: str, vector: Floats) -> None:
        faiss.omp_set_num_threads(1)
        self._flat.search(vector[None], POOL)
        query = " OR ".join(f'"{word}"' for word in words.split())
        sql = "SELECT rowid, bm25(passages), body FROM passages WHERE passages MATCH ? ORDER BY bm25(passages) LIMIT ?"
        self._words.execute(sql, (query, POOL)).fetchall()


def texts_of(vocabulary: Vocabulary, rows: int, first: int = 0) -> tuple[list[Text], list[str]]:
    """Documents of so many passages together, and the passages. `first`: the row of the first passage's vector."""
    passages = vocabulary.passages(rows)
    made = [Text(f"d{at}", str(first + at), "\n".join(passages[at : at + CHUNKS])) for at in range(0, rows, CHUNKS)]
    return made, passages


async def measured(home: Path, rows: int, ingest_s: float, cpu: bool) -> list[Figure]:
    """The figures of hybrid search over `rows` passages. `cpu`: processor time of the process instead of the wall's."""
    now = time.process_time if cpu else time.perf_counter
    vocabulary, vectors = Vocabulary(), np.concatenate(list(drawn(rows, 0)))
    texts, passages = texts_of(vocabulary, rows)
    house = DrawnHouse(home, vectors)
    await house.begin()
    began = time.perf_counter()
    project = await house.project("drawn", texts)
    await house.caught_up()
    stored = Figure(
        "hybrid: stored and indexed", rows / (time.perf_counter() - began), None, "chunks/s", note="by the wall, one caller"
    )
    theirs = Theirs(home, vectors, passages)
    searcher = Searcher(house.directory, house.store, house.settings)
    asked = [vocabulary.question() for _ in range(ASKED)]
    mine, its = list[float](), list[float]()
    for n, words in enumerate(asked):
        request = SearchRequest(user_id=USER, query=words, project_id=project, k=10)
        began = now()
        response = await searcher.search(request)
        mine.append((now() - began) * 1000.0)
        assert response.degraded is None
        assert len(response.hits) == 10
        began = now()
        theirs.search(words, house.drawn.vectors[n])
        its.append((now() - began) * 1000.0)
    figures = [
        stored,
        Figure("hybrid: one search, p50", statistics.median(mine), statistics.median(its), "ms", note="theirs: both, unfused"),
        Figure("hybrid: one search, p99", float(np.quantile(mine, 0.99)), float(np.quantile(its, 0.99)), "ms"),
    ]
    if ingest_s:
        figures.append(await _while_ingesting(house, vocabulary, searcher, asked, project, ingest_s))
    await house.close()
    return figures


async def _while_ingesting(
    house: DrawnHouse, vocabulary: Vocabulary, searcher: Searcher, asked: list[str], project: str, seconds: float
) -> Figure:
    texts, _ = texts_of(vocabulary, 20_000)
    adding = asyncio.create_task(house.project("more", texts))
    took, until = list[float](), time.monotonic() + seconds
    while time.monotonic() < until and not adding.done():
        request = SearchRequest(user_id=USER, query=asked[len(took) % ASKED], project_id=project, k=10)
        began = time.perf_counter()
        await searcher.search(request)
        took.append((time.perf_counter() - began) * 1000.0)
        await asyncio.sleep(PAUSE_S)
    adding.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    note = f"writer, reader and shard in one process; p50 {statistics.median(took):.1f} ms of {len(took)}"
    return Figure("hybrid: one search while ingesting, p99", float(np.quantile(took, 0.99)), None, "ms", "ours <= 50", note)
