"""What was deleted weighs no more in the score of what is left, on both databases.

FTS5's `contentless_delete` tables kept each deleted passage in their totals for ever, so that in a house where much was replaced
SQLite scored otherwise than PostgreSQL, and than itself freshly filled.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from actors.store import fulltext
from actors.store.terms import passage_terms, question_terms
from perenne.errors import NotFound
from perenne.messages import commands as c
from perenne.messages.search import Filters
from tests.unit.store.store_house import StoreHouse

WORDS = ("harbour", "lights", "boats", "storm", "camión", "東京都", "the")
QUESTIONS = ("harbour", "boats in a storm", "camion lights", "東京", "the")

texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
documents = st.tuples(texts.filter(bool), st.lists(texts, min_size=1, max_size=3))  # a title, passages
# Adding a document that is there replaces it.
steps = st.lists(st.tuples(st.integers(0, 4), st.none() | documents), min_size=1, max_size=12)
MANY_GONE = [(n % 5, ("boats", ["storm the the"])) for n in range(20)] + [(n, None) for n in range(4)]


def expected(held: dict[int, tuple[str, list[str]]], query: str) -> list[float]:
    """BM25 as sqlite.org/fts5.html#the_bm25_function has it, k1 1.2 and b 0.75, a word in a title counting 1.5 times."""
    passages = [
        (passage_terms(title, "en").split(), passage_terms(text, "en").split()) for title, all in held.values() for text in all
    ]
    lengths = [len(title) + len(body) for title, body in passages]
    scores = [0.0] * len(passages)
    for term in {term for forms in question_terms(query).values() for term in forms}:
        weights = [1.5 * Counter(title)[term] + Counter(body)[term] for title, body in passages]
        among = sum(weight > 0 for weight in weights)
        worth = max(1e-6, math.log((len(passages) - among + 0.5) / (among + 0.5)))
        for n, (weight, length) in enumerate(zip(weights, lengths, strict=True)):
            if weight:
                scores[n] += worth * weight * 2.2 / (weight + 1.2 * (0.25 + 0.75 * length * len(passages) / sum(lengths)))
    return sorted((score for score in scores if score), reverse=True)


@pytest.fixture
def house(database_of: Callable[[Path], str], tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path, url=database_of(tmp_path)).people()
    yield made
    made.close()


def store(house: StoreHouse, name: str, title: str, passages: list[str]) -> None:
    chunks = tuple(c.NewChunk(ordinal=n, text=text, start=0, end=len(text), language="en") for n, text in enumerate(passages))
    text = max(passages, key=len)
    one = c.IndexedDocument(document_id=name, external_id=name, title=title, text=text, chunks=chunks, vectors=b"")
    job = house.lines()
    house.store(job, one)
    house.system(c.FinishJob, job_id=job.id, lease_token=job.lease_token, state="done")


def delete(house: StoreHouse, name: str) -> None:
    with contextlib.suppress(NotFound):
        house.do(c.DeleteDocument, document_id=name)


def scores(house: StoreHouse, query: str) -> list[float]:
    hits = house.ask(fulltext.search_text, fulltext.WordCounts(), "ana", None, query, 50, Filters())
    return list(hits.scores)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
@example(steps=MANY_GONE)
def test_scores_are_those_of_a_freshly_filled_index(
    house: StoreHouse, steps: list[tuple[int, tuple[str, list[str]] | None]]
) -> None:
    held: dict[int, tuple[str, list[str]]] = {}
    for number, document in steps:
        held.pop(number, None)
        if document is None:
            delete(house, f"doc{number}")
        else:
            store(house, f"doc{number}", *document)
            held[number] = document
    for query in QUESTIONS:
        assert scores(house, query) == pytest.approx(expected(held, query), rel=1e-5), query
    for number in held:  # the next example goes on in this house: what was deleted must not show there either
        delete(house, f"doc{number}")
