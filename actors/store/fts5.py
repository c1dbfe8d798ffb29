"""Full text on SQLite: the virtual table `chunk_terms` and FTS5's own `bm25`. The four functions of `lexicon.Lexicon`."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from actors.store.prepared import Prepared
from actors.store.terms import BODY_WEIGHT, TITLE_WEIGHT

_INSERT = Prepared(
    text("INSERT INTO chunk_terms (rowid, title, body) VALUES (:id_, :title_, :body_)"), "id_", "title_", "body_"
)
_FORGET = Prepared(text("DELETE FROM chunk_terms WHERE rowid = :id_"), "id_")
_COUNT = text("SELECT COUNT(*) FROM chunk_terms WHERE chunk_terms MATCH :match_")
# FTS5 sorts by rank within itself: documents are looked up for the best alone, until enough of them pass.
_RANKED = f"""SELECT f.rowid AS id, -f.rank AS score
FROM chunk_terms f CROSS JOIN chunks c ON c.id = f.rowid CROSS JOIN documents d ON d.id = c.document_id
WHERE f.chunk_terms MATCH :match_ AND f.rank MATCH 'bm25({TITLE_WEIGHT}, {BODY_WEIGHT})'"""  # noqa: S608 - constants


def remember(conn: Connection, rows: Sequence[tuple[int, str, str]]) -> None:
    _INSERT.many(conn, rows)


def forget(conn: Connection, ids: Sequence[int]) -> None:
    _FORGET.many(conn, [(id,) for id in ids])


def count(conn: Connection, term: str) -> int:
    return conn.execute(_COUNT, {"match_": match_expression([term])}).scalar_one()


def ranked(
    conn: Connection, counts: Mapping[str, int], conditions: str, bound: dict[str, Any], k: int
) -> Sequence[tuple[int, float]]:
    statement = text(f"{_RANKED} AND {conditions} ORDER BY f.rank LIMIT :k_")
    rows = conn.execute(statement, bound | {"match_": match_expression(counts), "k_": k})
    return [(row.id, row.score) for row in rows]


def match_expression(terms: Sequence[str] | Mapping[str, int]) -> str:
    """An OR of quoted terms: whatever a user types is a word, never syntax."""
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)
