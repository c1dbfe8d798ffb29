"""Hybrid search: words and meaning asked at the same time, fused; either half alone where the other is away."""

import asyncio
import logging
import time
from dataclasses import dataclass

from actors.runs.fuse import Half, Question, fuse
from actors.runs.rerank import reranked
from actors.runs.tongue import language_of
from actors.runs.words import stems, stems_in
from perenne import correlation, names
from perenne.directory import Directory
from perenne.errors import InvalidRequest, PerenneError
from perenne.messages.models import Embeddings, EmbedRequest
from perenne.messages.records import Chunk, Page, Project
from perenne.messages.search import Filters, Hit, LexicalHits, Passages, SearchRequest, SearchResponse, ShardHits, ShardQuery
from perenne.settings import Settings
from perenne.store import Store

log = logging.getLogger(__name__)

POOL = 60  # passages that each half offers to the fusion, at least
EMBED_S = 2.0  # the question's vector is waited for this long
SHARD_S = 1.5  # one shard, its 300 ms of catching up included
GAP_S = 0.3  # a shard may take this long to see what was just written


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the fusion chooses from. `passages`: which of the question's stems each chunk has; a half is None where its search is
    away."""

    question: Question
    lexical: Half | None
    dense: Half | None
    chunks: list[Chunk]
    passages: dict[int, frozenset[str]]
    degraded: str | None


@dataclass(frozen=True, slots=True)
class Meaning:
    """Cosines by chunk id. `missing` says which shards are left out, and why."""

    cosines: dict[int, float]
    missing: str | None = None


def shard_query(
    vector: bytes, k: int, request: SearchRequest, projects: tuple[str, ...], documents: tuple[str, ...], head: int
) -> ShardQuery:
    """What every shard is asked. `documents`: all that the filters let through, none of them for every one."""
    return ShardQuery(
        vector=vector,
        k=k,
        user_id=request.user_id,
        project_ids=projects,
        document_ids=documents,
        languages=request.filters.languages,
        min_seq=head,
        wait_s=GAP_S,
    )


class Searcher:
    """Search over the readers, the shards and the embedder of one instance."""

    def __init__(self, directory: Directory, store: Store, settings: Settings) -> None:
        self._directory, self._store, self._settings = directory, store, settings

    async def search(self, request: SearchRequest) -> SearchResponse:
        """Passages, best first, at most `k`; in the reranker's order where one is configured and answers in time. Raises NotFound for
        a project that is not the user's, InvalidRequest, and Unavailable only when both halves are away."""
        began = time.monotonic()
        found = await self.candidates(request)
        fused = fuse(found.question, found.chunks, found.passages, found.lexical, found.dense)
        parts = [name for name, half in (("lexical", found.lexical), ("dense", found.dense)) if half is not None]
        missing = [found.degraded]
        if self._settings.reranking is not None and len(fused) > 1:
            fused, without = await reranked(self._directory, request.query, fused)
            missing.append(without)
            parts += ["reranking"] if without is None else []
        took_ms = (time.monotonic() - began) * 1000.0
        log.log(correlation.level(), "searched in %.0f ms by %s: %d found", took_ms, " and ".join(parts), len(fused))
        return SearchResponse(
            hits=tuple(hit_of(chunk, score) for chunk, score in fused[: request.k]),
            parts=tuple(parts),
            degraded="; ".join(filter(None, missing)) or None,
            took_ms=took_ms,
        )

    async def candidates(self, request: SearchRequest) -> Candidates:
        """What both halves offer; see `search` for what is raised."""
        if not request.query.strip():
            raise InvalidRequest("the query is empty", "query")
        if len(request.query) > names.QUERY_CHARS_MAX:
            raise InvalidRequest(f"the query has {len(request.query)} characters; {names.QUERY_CHARS_MAX} are allowed", "query")
        if not 1 <= request.k <= names.SEARCH_K_MAX:
            raise InvalidRequest(f"k is {request.k}; expected 1 to {names.SEARCH_K_MAX}", "k")
        pool = min(names.SEARCH_K_MAX, max(POOL, 2 * request.k))
        lexical, dense = await asyncio.gather(self._lexical(request, pool), self._dense(request, pool), return_exceptions=True)
        for half in (lexical, dense):
            if isinstance(half, BaseException) and not isinstance(half, PerenneError):
                raise half
        if isinstance(lexical, PerenneError) and (isinstance(dense, PerenneError) or lexical.code == "not_found"):
            raise lexical
        words = Half(dict(zip(lexical.ids, lexical.scores, strict=True))) if isinstance(lexical, LexicalHits) else None
        meaning = Half(dense.cosines) if isinstance(dense, Meaning) else None
        missing = [
            f"{name}: {half}" for name, half in (("words", lexical), ("meaning", dense)) if isinstance(half, PerenneError)
        ]
        if isinstance(dense, Meaning) and dense.missing is not None:
            missing.append(f"part of meaning: {dense.missing}")
        degraded = "searched without " + "; without ".join(missing) if missing else None
        question = Question(language_of(request.query), frozenset(stems(request.query)))
        chunks = await self._chunks(request, words, meaning)
        passages = {
            chunk.id: stems_in(f"{chunk.title} {' '.join(chunk.heading_path)} {chunk.text}", question.stems) for chunk in chunks
        }
        return Candidates(question, words, meaning, chunks, passages, degraded)

    async def _chunks(self, request: SearchRequest, words: Half | None, meaning: Half | None) -> list[Chunk]:
        ids = tuple(dict.fromkeys([*(words.scores if words else ()), *(meaning.scores if meaning else ())]))
        if not ids:
            return []
        found: Passages = await self._store.read(
            "chunks", user_id=request.user_id, chunk_ids=ids, project_id=request.project_id
        )
        return [chunk for chunk in found.chunks if passes(chunk, request.filters)]

    async def _lexical(self, request: SearchRequest, pool: int) -> LexicalHits:
        return await self._store.read(
            "search_text",
            deadline_s=5.0,
            user_id=request.user_id,
            project_id=request.project_id,
            query=request.query,
            k=pool,
            filters=request.filters,
        )

    async def _dense(self, request: SearchRequest, pool: int) -> Meaning:
        """The best by cosine, everything up to the project's head included. Shards that are away are left out, as long as one
        answers."""
        embedded, head, projects, documents = await asyncio.gather(
            self._embed(request.query), self._head(request), self._projects(request), self._documents(request)
        )
        if documents is None:
            return Meaning({})
        query = shard_query(embedded.data, pool, request, projects, documents, head)
        shards = [names.index_shard(embedded.space, n) for n in range(self._settings.shards)]
        asked = (self._directory.call(shard, "search", timeout_s=SHARD_S, query=query) for shard in shards)
        answers: list[ShardHits | BaseException] = await asyncio.gather(*asked, return_exceptions=True)
        away = [answer for answer in answers if isinstance(answer, BaseException)]
        held = [answer for answer in answers if isinstance(answer, ShardHits)]
        for error in away:
            if not held or not isinstance(error, PerenneError):
                raise error
        scores: dict[int, float] = {}
        for answer in held:
            scores.update(zip(answer.ids, answer.scores, strict=True))
        applied = min(answer.applied_seq for answer in held)
        if applied < head:
            gap: ShardHits = await self._store.read(
                "scan", deadline_s=3.0, user_id=request.user_id, space=embedded.space, query=query, after_seq=applied
            )
            scores.update(zip(gap.ids, gap.scores, strict=True))
        best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:pool]
        return Meaning(dict(best), "; ".join(map(str, away)) or None)

    async def _documents(self, request: SearchRequest) -> tuple[str, ...] | None:
        """The documents that the filters name by either id; none of them: every one; None: no document can pass."""
        filters = request.filters
        if not filters.external_ids:
            return filters.document_ids
        found: tuple[str, ...] = await self._store.read(
            "document_ids",
            deadline_s=2.0,
            user_id=request.user_id,
            project_id=request.project_id,
            external_ids=filters.external_ids,
        )
        if filters.document_ids:
            named = frozenset(filters.document_ids)
            found = tuple(id for id in found if id in named)
        return found or None

    async def _embed(self, text: str) -> Embeddings:
        return await self._directory.call(
            names.EMBEDDING, "embed", timeout_s=EMBED_S, request=EmbedRequest(texts=(text,), kind="query")
        )

    async def _head(self, request: SearchRequest) -> int:
        if request.min_seq:
            return request.min_seq
        return await self._store.read("vector_head", deadline_s=2.0, user_id=request.user_id, project_id=request.project_id)

    async def _projects(self, request: SearchRequest) -> tuple[str, ...]:
        if request.project_id is not None:
            return (request.project_id,)
        found: list[str] = []
        after: str | None = None
        while True:
            page: Page[Project] = await self._store.read("projects", user_id=request.user_id, limit=500, after=after)
            found.extend(project.id for project in page.items)
            after = page.next
            if after is None:
                return tuple(found)


def passes(chunk: Chunk, filters: Filters) -> bool:
    """All conditions, checked once more on the passage itself."""
    return (
        (not filters.document_ids or chunk.document_id in filters.document_ids)
        and (not filters.external_ids or chunk.external_id in filters.external_ids)
        and (not filters.languages or chunk.language in filters.languages)
    )


def hit_of(chunk: Chunk, score: float) -> Hit:
    """A chunk as search shows it."""
    return Hit(
        chunk_id=chunk.id,
        document_id=chunk.document_id,
        title=chunk.title,
        text=chunk.text,
        start=chunk.start,
        end=chunk.end,
        score=round(score, 6),
        external_id=chunk.external_id,
        page=chunk.page,
        heading_path=chunk.heading_path,
        language=chunk.language,
    )
