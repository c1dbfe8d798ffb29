"""Search: what is asked, and what each room answers."""

from dataclasses import dataclass, field

from perenne.messages.records import Chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """All given conditions must hold. Empty tuples mean no condition."""

    document_ids: tuple[str, ...] = ()
    external_ids: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """`project_id` None searches all projects of the user. `min_seq`: wait (300 ms at most) until this write is seen; 0: the project's head."""

    user_id: str
    query: str
    project_id: str | None = None
    k: int = 10
    filters: Filters = field(default_factory=Filters)
    min_seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One passage. `score` is calibrated to 0..1: an estimate that the passage bears on the query."""

    chunk_id: int
    document_id: str
    title: str
    text: str
    start: int
    end: int
    score: float
    external_id: str | None = None
    page: int | None = None
    heading_path: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResponse:
    """Hits, best first. `parts` says which halves answered ("dense", "lexical"), and whether a reranker made the order
    ("reranking"); `degraded` why one is missing."""

    hits: tuple[Hit, ...]
    parts: tuple[str, ...] = ("lexical", "dense")
    degraded: str | None = None
    took_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalHits:
    """`ids[i]` scored `scores[i]` (BM25, larger is better), best first. `head_seq`: the last vector change of what was searched."""

    ids: tuple[int, ...]
    scores: tuple[float, ...]
    head_seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardQuery:
    """`vector`: float32 little-endian bytes, unit length. Searched are chunks of `project_ids` (internal filters are exact)."""

    vector: bytes
    k: int
    user_id: str
    project_ids: tuple[str, ...]
    document_ids: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    min_seq: int = 0
    wait_s: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardHits:
    """Cosines, best first. `applied_seq` below `min_seq` means the gap was not seen: scan it."""

    ids: tuple[int, ...]
    scores: tuple[float, ...]
    applied_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedItem:
    """What a shard must apply, in order. op `set`: the document's chunks from here on are exactly those of the `set` and
    the `add`s that follow; `add`: more of them; `projects`: only its projects changed; `delete`: it is gone.
    `vectors`: float32 rows for `chunk_ids`; `languages`: one a chunk."""

    seq: int
    op: str
    document_id: str
    user_id: str = ""
    project_ids: tuple[str, ...] = ()
    chunk_ids: tuple[int, ...] = ()
    languages: tuple[str | None, ...] = ()
    vectors: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Changes after a sequence, bounded by bytes. When `upto` < `head` there is more. `origin` names whose sequence it is: a
    restored database begins a new one, and what followed the old one starts from nothing."""

    items: tuple[FeedItem, ...]
    upto: int
    head: int
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """Chunks by id, in the order asked; those that are gone or another user's are left out."""

    chunks: tuple[Chunk, ...]
