"""Questions with their answers, taken from a database at one moment, and asked again of a copy: full text by our own search, vectors by
an exact scan of all of a space."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from actors.store.fulltext import WordCounts, search_text
from actors.store.tables import chunks, documents, vectors
from perenne.messages.backups import TextAnswer, VectorAnswer
from perenne.messages.search import Filters

TEXTS = 20
VECTORS = 100
K = 10
WORDS = 8  # of a passage make a question
SCAN_ROWS = 4_096  # scored at once
SAME = 1e-4  # two scores of one pair of vectors differ by less: another processor adds in another order


def ask_texts(conn: Connection, count: int = TEXTS) -> tuple[TextAnswer, ...]:
    """Questions made of words of passages from all over the database."""
    rows = conn.execute(
        select(documents.c.user_id, chunks.c.text)
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(chunks.c.id.in_(_spread(conn, chunks.c.id, count)))
        .order_by(chunks.c.id)
    )
    queries = [(row.user_id, _question(row.text)) for row in rows]
    return tuple(TextAnswer(user_id=user, query=query, ids=_found(conn, user, query)) for user, query in queries if query)


def ask_vectors(conn: Connection, count: int = VECTORS) -> tuple[VectorAnswer, ...]:
    """The neighbours of `count` passages in all, from every space."""
    spaces = conn.execute(select(vectors.c.space).distinct().order_by(vectors.c.space)).scalars().all()
    answers: list[VectorAnswer] = []
    for space in spaces:
        asked = _spread(conn, vectors.c.chunk_id, -(-count // len(spaces)), vectors.c.space == space)
        answers.extend(_nearest(conn, space, asked))
    return tuple(answers[:count])


def differing(conn: Connection, texts: Sequence[TextAnswer], found: Sequence[VectorAnswer]) -> list[str]:
    """Where a copy answers other than was recorded, in words."""
    faults = [
        f"the search for {each.query!r} finds other passages than when the backup was made"
        for each in texts
        if _found(conn, each.user_id, each.query) != each.ids
    ]
    for space in sorted({each.space for each in found}):
        recorded = {each.chunk_id: each for each in found if each.space == space}
        now = {each.chunk_id: each for each in _nearest(conn, space, list(recorded))}
        faults += [
            f"passage {chunk_id} has other neighbours in {space} than when the backup was made"
            for chunk_id, each in recorded.items()
            if chunk_id not in now or not _alike(each, now[chunk_id])
        ]
    return faults


def _alike(one: VectorAnswer, other: VectorAnswer) -> bool:
    """The same scores, and the same passages but for those that tie with the last."""
    if len(one.scores) != len(other.scores):
        return False
    if any(abs(a - b) > SAME for a, b in zip(one.scores, other.scores, strict=True)):
        return False
    least = min(one.scores, default=0.0) + 2 * SAME
    sure = {id for id, score in zip(one.ids, one.scores, strict=True) if score > least}
    return sure <= set(other.ids)


def _spread(conn: Connection, column: Any, count: int, *where: Any) -> list[int]:
    """Values of a numeric column that lie about evenly from its least to its greatest."""
    least, greatest = conn.execute(select(func.min(column), func.max(column)).where(*where)).one()
    if least is None:
        return []
    found: dict[int, None] = {}
    for n in range(count):
        wanted = least + (greatest - least) * n // max(1, count - 1)
        found[conn.execute(select(func.min(column)).where(column >= wanted, *where)).scalar_one()] = None
    return list(found)


def _question(text: str) -> str:
    words = dict.fromkeys(word for word in text.split() if len(word) >= 4)
    return " ".join(list(words)[:WORDS])[:1_000]


def _found(conn: Connection, user_id: str, query: str) -> tuple[int, ...]:
    return search_text(conn, WordCounts(), user_id, None, query, K, Filters()).ids


def _nearest(conn: Connection, space: str, chunk_ids: Sequence[int]) -> list[VectorAnswer]:
    """Of each that is there: the K nearest in its space, itself among them, in one pass over the space."""
    import numpy as np

    of_space = select(vectors.c.chunk_id, vectors.c.data).where(vectors.c.space == space)
    asked = conn.execute(of_space.where(vectors.c.chunk_id.in_(chunk_ids)).order_by(vectors.c.chunk_id)).all()
    if not asked:
        return []
    width = len(asked[0].data)
    asked = [row for row in asked if len(row.data) == width]
    questions = np.frombuffer(b"".join(row.data for row in asked), dtype="<f4").reshape(len(asked), -1).T
    best_ids = np.empty((len(asked), 0), dtype=np.int64)
    best = np.empty((len(asked), 0), dtype=np.float32)
    for rows in conn.execute(of_space.execution_options(yield_per=SCAN_ROWS)).partitions():
        usable = [row for row in rows if len(row.data) == width]
        if not usable:
            continue
        matrix = np.frombuffer(b"".join(row.data for row in usable), dtype="<f4").reshape(len(usable), -1)
        ids = np.array([row.chunk_id for row in usable], dtype=np.int64)
        best = np.hstack([best, (matrix @ questions).T])
        best_ids = np.hstack([best_ids, np.broadcast_to(ids, (len(asked), len(ids)))])
        order = np.lexsort((best_ids, -best))[:, :K]
        best, best_ids = np.take_along_axis(best, order, 1), np.take_along_axis(best_ids, order, 1)
    return [
        VectorAnswer(
            space=space,
            chunk_id=row.chunk_id,
            ids=tuple(int(id) for id in best_ids[n]),
            scores=tuple(round(float(score), 6) for score in best[n]),
        )
        for n, row in enumerate(asked)
    ]
