"""Search by words: BM25 over our own terms, exact filters, never another user's."""

from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from actors.store.lexicon import lexicon
from actors.store.reading import find_project
from actors.store.tables import changes, projects
from actors.store.terms import question_terms
from perenne import names
from perenne.errors import TooLarge
from perenne.messages.search import Filters, LexicalHits

WORDS_MAX = 48  # of a question; the rarest are kept
POSTINGS_MAX = 14_000  # passages scored for one question, about 1.5 µs each: the rarest words first, the rest left out
WORDS_KEPT = 2  # however common they are

_USER_HEAD = select(func.coalesce(func.max(projects.c.vector_seq), 0)).where(projects.c.user_id == bindparam("user_"))
_PROJECT_HEAD = _USER_HEAD.where(projects.c.id == bindparam("project_"))
_FEED_HEAD = select(func.coalesce(func.max(changes.c.seq), 0))


def feed_head(conn: Connection) -> int:
    return conn.execute(_FEED_HEAD).scalar_one()


def vector_head(conn: Connection, user_id: str, project_id: str | None) -> int:
    """The feed's last change to what a search of this project (None: all of the user's) looks through."""
    if project_id is None:
        return conn.execute(_USER_HEAD, {"user_": user_id}).scalar_one()
    return conn.execute(_PROJECT_HEAD, {"user_": user_id, "project_": project_id}).scalar_one()


def _conditions(user_id: str, project_id: str | None, filters: Filters) -> tuple[str, dict[str, Any]]:
    """SQL and values for what a hit must satisfy, beyond its words."""
    where = ["d.user_id = :user_"]
    bound: dict[str, Any] = {"user_": user_id}

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
    return " AND ".join(where), bound


class WordCounts:
    """In how many passages a term stands, remembered while the feed's head stays near: only its rough size matters. That it stands
    nowhere is remembered for that very head: after the next write it may, and must be found."""

    REMEMBERED = 20_000
    STALE_CHANGES = 2_000

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._nowhere: dict[str, int] = {}  # the head at which it stood nowhere
        self._head = -self.STALE_CHANGES - 1

    def refresh(self, conn: Connection) -> int:
        """Forget what was counted too long ago. The feed's head as `conn` sees it."""
        head = feed_head(conn)
        if abs(head - self._head) > self.STALE_CHANGES or len(self._counts) + len(self._nowhere) > self.REMEMBERED:
            self._counts, self._nowhere, self._head = {}, {}, head
        return head

    def of(self, conn: Connection, term: str, head: int) -> int:
        counts, nowhere = self._counts, self._nowhere  # another thread may begin new ones meanwhile
        found = counts.get(term)
        if found is not None:
            return found
        if nowhere.get(term) == head:
            return 0
        found = lexicon(conn).count(conn, term)
        if found:
            counts[term] = found
        else:
            nowhere[term] = head
        return found


def chosen_terms(conn: Connection, query: str, counted: WordCounts) -> dict[str, int]:
    """The terms that a search looks for, and in how many passages each stands: no stopwords, and of those that stand in very many
    only as many as can be scored in time, the rarest first."""
    found = question_terms(query)
    head = counted.refresh(conn)
    counts = {term: counted.of(conn, term, head) for forms in found.values() for term in forms}
    ranked = sorted((sum(counts[term] for term in forms), word) for word, forms in found.items())
    kept: set[str] = set()
    postings = 0
    for count, word in ranked:
        postings += count
        if len(kept) >= WORDS_KEPT and postings > POSTINGS_MAX:
            break
        if count and len(kept) < WORDS_MAX:
            kept.add(word)
    return {term: counts[term] for word in found if word in kept for term in found[word] if counts[term]}


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
    conditions, bound = _conditions(user_id, project_id, filters)
    hits = lexicon(conn).ranked(conn, terms, conditions, bound, min(k, names.SEARCH_K_MAX))
    return LexicalHits(ids=tuple(id for id, _ in hits), scores=tuple(score for _, score in hits), head_seq=head)
