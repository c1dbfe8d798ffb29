"""Search by words: BM25 over our own terms, exact filters, never another user's."""

from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from actors.store.reading import find_project
from actors.store.tables import changes, projects
from actors.store.terms import question_terms
from perenne import names
from perenne.errors import TooLarge
from perenne.messages.search import Filters, LexicalHits

TITLE_WEIGHT, BODY_WEIGHT = 1.5, 1.0
WORDS_MAX = 48  # of a question; the rarest are kept
POSTINGS_MAX = 14_000  # passages scored for one question, about 1.5 µs each: the rarest words first, the rest left out
WORDS_KEPT = 2  # however common they are

_USER_HEAD = select(func.coalesce(func.max(projects.c.vector_seq), 0)).where(projects.c.user_id == bindparam("user_"))
_PROJECT_HEAD = _USER_HEAD.where(projects.c.id == bindparam("project_"))
# FTS5 sorts by rank within itself: documents are looked up for the best alone, until enough of them pass.
_RANKED = f"""SELECT f.rowid AS id, f.rank AS score
FROM chunk_terms f CROSS JOIN chunks c ON c.id = f.rowid CROSS JOIN documents d ON d.id = c.document_id
WHERE f.chunk_terms MATCH :match_ AND f.rank MATCH 'bm25({TITLE_WEIGHT}, {BODY_WEIGHT})' AND d.user_id = :user_"""  # noqa: S608 - constants
_FEED_HEAD = select(func.coalesce(func.max(changes.c.seq), 0))


def feed_head(conn: Connection) -> int:
    return conn.execute(_FEED_HEAD).scalar_one()


def vector_head(conn: Connection, user_id: str, project_id: str | None) -> int:
    """The feed's last change to what a search of this project (None: all of the user's) looks through."""
    if project_id is None:
        return conn.execute(_USER_HEAD, {"user_": user_id}).scalar_one()
    return conn.execute(_PROJECT_HEAD, {"user_": user_id, "project_": project_id}).scalar_one()


def match_expression(terms: list[str]) -> str:
    """An OR of quoted terms: whatever a user types is a word, never syntax."""
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)


def _conditions(project_id: str | None, filters: Filters) -> tuple[str, dict[str, Any]]:
    """SQL and values for what a hit must satisfy, beyond its words and its user."""
    where: list[str] = []
    bound: dict[str, Any] = {}

    def among(column: str, name: str, values: tuple[str, ...]) -> None:
        slots = [f"{name}_{i}" for i in range(len(values))]
        bound.update(zip(slots, values, strict=True))
        where.append(f"{column} IN ({', '.join(':' + slot for slot in slots)})")

    if project_id is not None:
        where.append(
            "EXISTS (SELECT 1 FROM document_projects p WHERE p.project_id = :project_ AND p.document_id = c.document_id)"
        )
        bound["project_"] = project_id
    if filters.document_ids:
        among("c.document_id", "document", filters.document_ids)
    if filters.external_ids:
        among("d.external_id", "external", filters.external_ids)
    if filters.languages:
        among("c.language", "language", filters.languages)
    return "".join(f" AND {condition}" for condition in where), bound


class WordCounts:
    """In how many passages a term stands, remembered while the feed's head stays near: only its rough size matters."""

    REMEMBERED = 20_000
    STALE_CHANGES = 2_000

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._head = -self.STALE_CHANGES - 1

    def refresh(self, conn: Connection) -> None:
        """Forget what was counted too long ago."""
        head = feed_head(conn)
        if abs(head - self._head) > self.STALE_CHANGES or len(self._counts) > self.REMEMBERED:
            self._counts, self._head = {}, head

    def of(self, conn: Connection, term: str) -> int:
        counts = self._counts  # another thread may begin a new one meanwhile
        found = counts.get(term)
        if found is None:
            query = text("SELECT COUNT(*) FROM chunk_terms WHERE chunk_terms MATCH :term_")
            found = counts[term] = conn.execute(query, {"term_": match_expression([term])}).scalar_one()
        return found


def chosen_terms(conn: Connection, query: str, counted: WordCounts) -> list[str]:
    """The terms that a search looks for: no stopwords, and of those that stand in very many passages only as many as can be
    scored in time, the rarest first."""
    found = question_terms(query)
    counted.refresh(conn)
    ranked = sorted((sum(counted.of(conn, term) for term in forms), word) for word, forms in found.items())
    kept: set[str] = set()
    postings = 0
    for count, word in ranked:
        postings += count
        if len(kept) >= WORDS_KEPT and postings > POSTINGS_MAX:
            break
        if count and len(kept) < WORDS_MAX:
            kept.add(word)
    return list(dict.fromkeys(term for word in found if word in kept for term in found[word]))


def search_text(
    conn: Connection, counted: WordCounts, user_id: str, project_id: str | None, query: str, k: int, filters: Filters
) -> LexicalHits:
    """The `k` best passages by BM25. NotFound for a project that is not the user's; TooLarge for too long a query."""
    if len(query) > names.QUERY_CHARS_MAX:
        raise TooLarge("query", len(query), names.QUERY_CHARS_MAX)
    if project_id is not None:
        find_project(conn, user_id, project_id)
    head = vector_head(conn, user_id, project_id)
    terms = chosen_terms(conn, query, counted)
    if not terms or k <= 0:
        return LexicalHits(ids=(), scores=(), head_seq=head)
    conditions, bound = _conditions(project_id, filters)
    statement = text(_RANKED + conditions + " ORDER BY f.rank LIMIT :k_")
    bound |= {"match_": match_expression(terms), "user_": user_id, "k_": min(k, names.SEARCH_K_MAX)}
    rows = conn.execute(statement, bound).all()
    return LexicalHits(ids=tuple(row.id for row in rows), scores=tuple(-row.score for row in rows), head_seq=head)
