"""What a shard must answer, computed the plain way; and changes to feed it with."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perenne.messages.search import Feed, FeedItem, ShardHits, ShardQuery

DIMENSION = 16


def unit_vectors(count: int, seed: int, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """Coarse enough that equal vectors and equal scores are common."""
    rows = np.random.default_rng(seed).integers(-1, 2, (count, dimension)).astype(np.float32)
    rows[:, 0] += 0.5
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass
class Passage:
    document_id: str
    language: str | None
    vector: NDArray[np.float32]


@dataclass
class Model:
    """All passages by id, in dictionaries. `feed` is the whole feed."""

    users: dict[str, str] = field(default_factory=dict)
    projects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    passages: dict[int, Passage] = field(default_factory=dict)
    items: list[FeedItem] = field(default_factory=list)
    seq: int = 0
    next_id: int = 1
    origin: str = "origin-a"

    def write(
        self,
        op: str,
        document_id: str,
        *,
        user_id: str = "u0",
        project_ids: Sequence[str] = (),
        languages: Sequence[str | None] = (),
        vectors: NDArray[np.float32] | None = None,
        skip: int = 0,
    ) -> FeedItem:
        """Append a change; other entities took `skip` sequence numbers before it."""
        self.seq += 1 + skip
        if op in ("set", "delete"):
            self.passages = {n: p for n, p in self.passages.items() if p.document_id != document_id}
        if op == "delete":
            self.users.pop(document_id, None)
            self.projects.pop(document_id, None)
        else:
            self.users[document_id] = user_id
            self.projects[document_id] = tuple(project_ids)
        rows = np.empty((0, DIMENSION), np.float32) if vectors is None or op in ("projects", "delete") else vectors
        ids = tuple(range(self.next_id, self.next_id + len(rows)))
        self.next_id += len(rows)
        tongues = tuple(languages[: len(rows)])
        for chunk_id, language, vector in zip(ids, tongues, rows, strict=True):
            self.passages[chunk_id] = Passage(document_id, language, vector)
        item = FeedItem(
            seq=self.seq,
            op=op,
            document_id=document_id,
            user_id="" if op == "delete" else user_id,
            project_ids=() if op == "delete" else tuple(project_ids),
            chunk_ids=ids,
            languages=tongues,
            vectors=rows.astype("<f4").tobytes(),
        )
        self.items.append(item)
        return item

    def feed(self, after_seq: int, limit_items: int = 1_000_000) -> Feed:
        """A page of the feed, as a store gives it."""
        later = [item for item in self.items if item.seq > after_seq]
        page = later[:limit_items]
        upto = self.seq if len(page) == len(later) else page[-1].seq
        return Feed(items=tuple(page), upto=max(upto, after_seq), head=self.seq, origin=self.origin)

    def search(self, query: ShardQuery) -> ShardHits:
        """Every passage looked at."""
        vector = np.frombuffer(query.vector, "<f4").astype(np.float64)
        found: list[tuple[float, int]] = []
        for chunk_id, passage in self.passages.items():
            document = passage.document_id
            if self.users[document] != query.user_id or not set(self.projects[document]) & set(query.project_ids):
                continue
            if query.document_ids and document not in query.document_ids:
                continue
            if query.languages and passage.language not in query.languages:
                continue
            score = float(np.float32((passage.vector.astype(np.float64) * vector).sum()))
            found.append((-score, chunk_id))
        found = sorted(found)[: query.k]
        return ShardHits(ids=tuple(n for _, n in found), scores=tuple(-s for s, _ in found), applied_seq=self.seq)


def some_query(chance: random.Random, documents: Sequence[str]) -> ShardQuery:
    """A question with filters of any selectivity."""
    users, projects, languages = ["u0", "u1", "nobody"], ["p0", "p1", "p2", "none"], ["en", "es", "xx"]
    return ShardQuery(
        vector=unit_vectors(1, chance.randrange(1 << 30)).tobytes(),
        k=chance.choice([1, 3, 10, 50]),
        user_id=chance.choices(users, [6, 3, 1])[0],
        project_ids=tuple(chance.sample(projects, chance.randrange(1, 4))),
        document_ids=tuple(chance.sample(list(documents), min(len(documents), chance.choice([0, 0, 1, 3])))),
        languages=tuple(chance.sample(languages, chance.choice([0, 0, 1, 2]))),
    )


def some_change(model: Model, chance: random.Random, documents: Sequence[str]) -> FeedItem:
    """A change of any kind to any document, known or not."""
    document_id = chance.choice(documents)
    held = model.users.get(document_id)
    op = chance.choices(["set", "add", "projects", "delete"], [5, 3, 2, 1])[0] if held else "set"
    count = chance.randrange(0, 12)
    return model.write(
        op,
        document_id,
        user_id=held or chance.choice(["u0", "u0", "u1"]),
        project_ids=tuple(chance.sample(["p0", "p1", "p2"], chance.randrange(1, 3))),
        languages=[chance.choice(["en", "es", None]) for _ in range(count)],
        vectors=unit_vectors(count, chance.randrange(1 << 30)),
        skip=chance.choice([0, 0, 3]),
    )
