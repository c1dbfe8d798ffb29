"""What shards follow: the changes of passages after a sequence, with the rows that they need; and an exact scan of the newest."""

from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from actors.store.fulltext import feed_head
from actors.store.reading import IDS_AT_ONCE, links_of
from actors.store.tables import changes, chunks, document_projects, documents, vectors
from actors.store.work import read_meta
from perenne import names
from perenne.messages.search import Feed, FeedItem, ShardHits, ShardQuery

CHANGES_AT_ONCE = 1_000
ITEM_BYTES = 200  # what an item weighs beside its vectors
SCAN_ROWS = 4_096  # scored at once

_CHANGES = (
    select(changes.c.seq, changes.c.id, changes.c.op)
    .where(changes.c.entity == "passages", changes.c.seq > bindparam("after_"))
    .order_by(changes.c.seq)
    .limit(CHANGES_AT_ONCE)
)
_OWNERS = select(documents.c.id, documents.c.user_id).where(documents.c.id.in_(bindparam("ids_", expanding=True)))
_VECTORS = (
    select(vectors.c.seq, vectors.c.chunk_id, vectors.c.data, chunks.c.language)
    .join(chunks, chunks.c.id == vectors.c.chunk_id)
    .where(vectors.c.space == bindparam("space_"), vectors.c.seq > bindparam("after_"), vectors.c.seq <= bindparam("upto_"))
    .order_by(vectors.c.seq, vectors.c.chunk_id)
    .execution_options(yield_per=256)
)


def index_feed(conn: Connection, space: str, after_seq: int, limit_bytes: int) -> Feed:
    """Changes after `after_seq` in order, at least one if there is one, about `limit_bytes` of them at most."""
    head, origin = feed_head(conn), read_meta(conn, "origin") or ""
    found = conn.execute(_CHANGES, {"after_": after_seq}).all()
    if not found:
        return Feed(items=(), upto=max(after_seq, head), head=head, origin=origin)
    ids = list(dict.fromkeys(row.id for row in found))
    owners: dict[str, str] = {}
    for i in range(0, len(ids), IDS_AT_ONCE):
        owners |= {row.id: row.user_id for row in conn.execute(_OWNERS, {"ids_": ids[i : i + IDS_AT_ONCE]})}
    links = links_of(conn, ids)
    rows, read_upto = _vectors(conn, space, after_seq, found[-1].seq, limit_bytes)
    items: list[FeedItem] = []
    weight = 0
    for change in found:
        if items and (weight > limit_bytes or change.seq > read_upto):
            return Feed(items=tuple(items), upto=items[-1].seq, head=head, origin=origin)
        item = _item(change, owners.get(change.id), links.get(change.id, ()), rows.get(change.seq, []))
        items.append(item)
        weight += ITEM_BYTES + len(item.vectors)
    upto = head if len(found) < CHANGES_AT_ONCE else found[-1].seq
    return Feed(items=tuple(items), upto=upto, head=head, origin=origin)


def _vectors(conn: Connection, space: str, after: int, upto: int, limit_bytes: int) -> tuple[dict[int, list[Any]], int]:
    """Rows by sequence, whole sequences only, and the last sequence that was read to its end."""
    rows: dict[int, list[Any]] = {}
    size = 0
    result = conn.execute(_VECTORS, {"space_": space, "after_": after, "upto_": upto})
    for row in result:
        if row.seq not in rows and size > limit_bytes:
            result.close()
            return rows, row.seq - 1
        rows.setdefault(row.seq, []).append(row)
        size += len(row.data)
    return rows, upto


def _item(change: Any, user_id: str | None, project_ids: tuple[str, ...], rows: list[Any]) -> FeedItem:
    """What the change means now. Of a document that is gone since, only that."""
    if user_id is None or change.op == "delete":
        return FeedItem(seq=change.seq, op="delete", document_id=change.id)
    return FeedItem(
        seq=change.seq,
        op=change.op,
        document_id=change.id,
        user_id=user_id,
        project_ids=project_ids,
        chunk_ids=tuple(row.chunk_id for row in rows),
        languages=tuple(row.language for row in rows),
        vectors=b"".join(row.data for row in rows),
    )


def scan(conn: Connection, user_id: str, space: str, query: ShardQuery, after_seq: int) -> ShardHits:
    """The exact `k` nearest among vectors that came after `after_seq`, or whose document came into a project since; of this
    user, under the query's conditions."""
    import numpy as np

    head = feed_head(conn)
    k = max(0, min(query.k, names.SEARCH_K_MAX))
    inside = select(document_projects.c.document_id).where(document_projects.c.project_id.in_(query.project_ids))
    moved = select(changes.c.id).where(
        changes.c.entity == "passages", changes.c.op == "projects", changes.c.seq > after_seq
    )  # into a project or out of it: their vectors are older than that
    statement = (
        select(vectors.c.chunk_id, vectors.c.data)
        .join(documents, documents.c.id == vectors.c.document_id)
        .where(vectors.c.space == space, documents.c.user_id == user_id)
        .where(or_(vectors.c.seq > after_seq, vectors.c.document_id.in_(moved)))
        .where(vectors.c.document_id.in_(inside))
    )
    if query.document_ids:
        statement = statement.where(vectors.c.document_id.in_(query.document_ids))
    if query.languages:
        statement = statement.join(chunks, chunks.c.id == vectors.c.chunk_id).where(chunks.c.language.in_(query.languages))
    wanted = np.frombuffer(query.vector, dtype="<f4")
    best: list[tuple[float, int]] = []
    for rows in conn.execute(statement.execution_options(yield_per=SCAN_ROWS)).partitions():
        usable = [row for row in rows if len(row.data) == len(query.vector)]
        if not usable:
            continue
        matrix = np.frombuffer(b"".join(row.data for row in usable), dtype="<f4").reshape(len(usable), -1)
        scores = matrix @ wanted
        best += [(float(score), -row.chunk_id) for score, row in zip(scores, usable, strict=True)]
        best = sorted(best, reverse=True)[:k]
    return ShardHits(ids=tuple(-id for _, id in best), scores=tuple(score for score, _ in best), applied_seq=head)
