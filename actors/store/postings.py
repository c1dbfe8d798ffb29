"""Full text on PostgreSQL: a row for each term of each passage, and BM25 as FTS5 computes it. The four functions of `lexicon.Lexicon`.

The row holds all that the formula asks of a passage, so a search reads one index and no table.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from actors.store.terms import BODY_WEIGHT, TITLE_WEIGHT

# Of FTS5 (sqlite.org/fts5.html#the_bm25_function): saturation, weight of the length, and the least that a term is worth.
K1, B, IDF_LEAST = 1.2, 0.75, 1e-6

_INSERT = text(
    "INSERT INTO chunk_terms (term, chunk_id, weight, length) SELECT * FROM "
    "unnest(CAST(:terms_ AS text[]), CAST(:ids_ AS bigint[]), CAST(:weights_ AS real[]), CAST(:lengths_ AS integer[]))"
)
_FORGET = text(
    "WITH gone AS (DELETE FROM chunk_terms WHERE chunk_id = ANY(:ids_) RETURNING chunk_id, length) "
    "SELECT coalesce(sum(length), 0) FROM (SELECT DISTINCT chunk_id, length FROM gone) AS each"
)
_TOTAL = text("UPDATE chunk_terms_total SET passages = passages + :passages_, words = words + :words_")
_TOTALS = text("SELECT passages, words FROM chunk_terms_total")
_COUNT = text("SELECT count(*) FROM chunk_terms WHERE term = :term_")
# The best first, and documents looked up for those alone, until enough of them pass.
_RANKED = """SELECT s.id, s.score FROM (
  SELECT f.chunk_id AS id,
    sum(asked.worth * f.weight / (f.weight + :least_ + :each_ * f.length)) AS score
  FROM unnest(CAST(:terms_ AS text[]), CAST(:worths_ AS double precision[])) AS asked (term, worth)
  JOIN chunk_terms f ON f.term = asked.term GROUP BY f.chunk_id ORDER BY 2 DESC, 1
) AS s JOIN chunks c ON c.id = s.id JOIN documents d ON d.id = c.document_id WHERE """


def remember(conn: Connection, rows: Sequence[tuple[int, str, str]]) -> None:
    terms: list[str] = []
    ids: list[int] = []
    weights: list[float] = []
    lengths: list[int] = []
    words = 0
    for id, title, body in rows:
        in_title, in_body = title.split(), body.split()
        weight = {term: TITLE_WEIGHT * count for term, count in Counter(in_title).items()}
        for term, count in Counter(in_body).items():
            weight[term] = weight.get(term, 0.0) + BODY_WEIGHT * count
        length = len(in_title) + len(in_body)
        words += length
        terms += weight.keys()
        weights += weight.values()
        ids += [id] * len(weight)
        lengths += [length] * len(weight)
    conn.execute(_INSERT, {"terms_": terms, "ids_": ids, "weights_": weights, "lengths_": lengths})
    conn.execute(_TOTAL, {"passages_": len(rows), "words_": words})


def forget(conn: Connection, ids: Sequence[int]) -> None:
    words = conn.execute(_FORGET, {"ids_": list(ids)}).scalar_one()
    conn.execute(_TOTAL, {"passages_": -len(ids), "words_": -words})


def count(conn: Connection, term: str) -> int:
    return conn.execute(_COUNT, {"term_": term}).scalar_one()


def ranked(
    conn: Connection, counts: Mapping[str, int], conditions: str, bound: dict[str, Any], k: int
) -> Sequence[tuple[int, float]]:
    passages, words = conn.execute(_TOTALS).one()
    average = words / passages if words else 1.0  # without words nothing is found, but the division is done
    asked = {
        "terms_": list(counts),
        "worths_": [(K1 + 1) * _worth(passages, count) for count in counts.values()],
        "least_": K1 * (1 - B),
        "each_": K1 * B / average,
        "k_": k,
    }
    statement = text(f"{_RANKED}{conditions} ORDER BY s.score DESC, s.id LIMIT :k_")
    return [(row.id, row.score) for row in conn.execute(statement, bound | asked)]


def _worth(passages: int, count: int) -> float:
    """A term's IDF. A count that is remembered may be older than the total."""
    return max(IDF_LEAST, math.log((max(passages, count) - count + 0.5) / (count + 0.5)))
