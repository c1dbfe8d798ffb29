"""From a question to its answer: route, plan, retrieve, budget, generate, cite. Each result is logged as a step, so that
whoever takes the run over does not do it again."""

import asyncio
import hashlib
import logging
from array import array
from dataclasses import dataclass, replace

from actors.runs import budget, plan, prompt, replies
from actors.runs.cite import SUPPORTED, Cosines, Placed, claims_in, marked, places, strongest, texts_to_embed
from actors.runs.decline import hopeless, refuses, vacuous
from actors.runs.excerpt import excerpts
from actors.runs.first_words import FirstWords
from actors.runs.journal import Journal, data_of
from actors.runs.judge import LIKELY, evidence, holds_across, invented, likelihood
from actors.runs.model import Model
from actors.runs.past import Past
from actors.runs.route import route_of
from actors.runs.search import Searcher, hit_of
from actors.runs.talk import Asked
from actors.runs.tongue import language_of
from actors.runs.write import Writer
from perenne import names
from perenne.directory import Directory
from perenne.errors import PerenneError
from perenne.messages.models import ChatMessage, Embeddings, EmbedRequest, GenerateRequest, ModelState
from perenne.messages.records import Citation, Run, Usage
from perenne.messages.search import Hit, Passages, SearchRequest
from perenne.store import Store

log = logging.getLogger(__name__)

SOURCES = 8  # passages shown
READ_MAX = 5  # passages that the model reads, at most
GENERATING_MAX = 2  # generations of ours that the engine is given at once
EMBED_S = 3.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What answering needs of the house; one set a host."""

    directory: Directory
    store: Store
    searcher: Searcher
    model: Model
    generating: asyncio.Semaphore
    first_words: FirstWords


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as its message will keep it."""

    text: str
    citations: tuple[Citation, ...] = ()
    grounded: bool = False
    finish_reason: str = "stop"
    usage: Usage | None = None


def seed_of(run: Run) -> int:
    """The run's own seed: the caller's, else drawn from its id, so that a second attempt writes the same."""
    if run.options.seed is not None:
        return run.options.seed
    return int.from_bytes(hashlib.sha256(run.id.encode()).digest()[:4], "big") >> 1


def temperature_of(run: Run, asked: Asked, grounded: bool) -> float:
    """Exact from documents; livelier when the same question is to be answered anew, or nothing binds the answer."""
    if run.options.temperature is not None:
        return run.options.temperature
    return (0.6 if asked.again else 0.0) if grounded else 0.7


class Answering:
    """One attempt at one question."""

    def __init__(self, tools: Tools, journal: Journal, asked: Asked, past: Past) -> None:
        self._tools, self._journal, self._asked, self._past = tools, journal, asked, past
        self._run = journal.run
        self._language = language_of(asked.question)
        self.writer = Writer(tools.model, journal)
        self.searched = False

    @property
    def language(self) -> str | None:
        """The question's language."""
        return self._language

    async def answer(self) -> Answered:
        """The whole way. ModelAway when nobody is left to write; other errors as they come."""
        route = route_of(self._asked.question, self._run.options.grounded)
        await self._journal.note("step", name="route", route=route, language=self._language)
        if route == "grounded":
            return await self._grounded()
        if route == "talk":
            messages = prompt.talk_messages(self._asked.question, self._asked.history, self._language)
        else:
            messages = prompt.bare_messages(self._asked.question, self._asked.history)
        async with _Turn(self._tools.generating, self._journal):
            await self._tools.model.ready(self._tell)
            written = await self.writer.write(self._request(messages, grounded=False), self._past.text)
        return Answered(written.text, finish_reason=written.finish_reason, usage=written.usage)

    async def _tell(self, words: str) -> None:
        await self._journal.note("status", stage="model", detail=words)

    def _request(self, messages: tuple[ChatMessage, ...], grounded: bool) -> GenerateRequest:
        options = self._run.options
        return GenerateRequest(
            request_id=f"{self._run.id}-{self._run.attempt}",
            messages=messages,
            max_tokens=options.max_tokens or budget.ANSWER_TOKENS,
            temperature=temperature_of(self._run, self._asked, grounded),
            top_p=options.top_p,
            seed=seed_of(self._run),
            stop=options.stop,
        )

    # From documents

    async def _grounded(self) -> Answered:
        query = await self._query()
        hits = await self._hits(query)
        if hopeless(hits):
            return await self._declined("nothing found")
        async with _Turn(self._tools.generating, self._journal):
            state = await self._tools.model.ready(self._tell)
            read, shown = await self._read(query, hits, state)
            await self._journal.note("status", stage="writing", detail="")
            messages = prompt.grounded_messages(self._asked.question, shown, self._asked.history, self._language)
            request = self._request(messages, grounded=True)
            await self._journal.note("step", name="generate", model=state.model_id, seed=request.seed)
            written = await self.writer.write(request, self._past.text)
        if refuses(written.text) or vacuous(query, written.text):
            return await self._declined("the model found nothing", written.usage)
        placed = places(query, written.text, read, await self._cosines(claims_in(written.text), read), self._language)
        if not await self._held(query, placed, read):
            return await self._declined("no passage holds it", written.usage)
        best = strongest(placed)
        bar = (
            min(SUPPORTED, best.support.score) if best and best.support else SUPPORTED
        )  # an answer that stands says where from
        cited = marked(written.text, placed, read, bar)
        self.writer.written.text = cited.text
        await self._journal.note("citations", citations=[data_of(one) for one in cited.citations], text=cited.text)
        return Answered(cited.text, cited.citations, True, written.finish_reason, written.usage)

    async def _query(self) -> str:
        """What to search for; the model is asked only when the question leans on what was said before."""
        known = self._past.steps.get("plan")
        if known:
            return str(known["query"])
        asked = self._asked
        query, how = asked.question, "as asked"
        if not plan.stands_alone(asked.question, asked.history):
            await self._journal.note("status", stage="planning", detail="")
            query, how = await self._rewritten(), "rewritten"
        query = query[: names.QUERY_CHARS_MAX]
        await self._journal.note("step", name="plan", query=query, how=how)
        return query

    async def _rewritten(self) -> str:
        asked = self._asked
        request = GenerateRequest(
            request_id=f"{self._run.id}-{self._run.attempt}-plan",
            messages=plan.rewrite_messages(asked.question, asked.history, self._language),
            max_tokens=plan.REWRITE_TOKENS,
            temperature=0.0,
            seed=seed_of(self._run),
        )
        try:
            async with _Turn(self._tools.generating, self._journal):
                if (await self._tools.model.state()).phase == "ready":
                    return plan.cleaned(await self._tools.model.word(request), asked.question)
        except PerenneError as error:
            log.info("the question was not rewritten: %s", error)
        return plan.joined(asked.question, asked.history)

    async def _hits(self, query: str) -> list[Hit]:
        """Passages, shown before the first word is written."""
        known = self._past.steps.get("retrieve")
        if known:
            hits = await self._found_before(known["chunk_ids"], known["scores"])
        else:
            await self._journal.note("status", stage="searching", detail="")
            request = SearchRequest(
                user_id=self._run.user_id,
                query=query,
                project_id=self._run.project_id,
                k=max(1, min(self._run.options.k or SOURCES, 50)),
            )
            response = await self._tools.searcher.search(request)
            hits = list(response.hits)
            await self._journal.note(
                "step",
                name="retrieve",
                chunk_ids=[hit.chunk_id for hit in hits],
                scores=[hit.score for hit in hits],
                parts=list(response.parts),
                degraded=response.degraded,
            )
        if not self._past.sources:
            await self._journal.note("sources", hits=[data_of(hit) for hit in hits])
        self.searched = True
        return hits

    async def _found_before(self, chunk_ids: list[int], scores: list[float]) -> list[Hit]:
        found: Passages = await self._tools.store.read("chunks", user_id=self._run.user_id, chunk_ids=tuple(chunk_ids))
        score_of = dict(zip(chunk_ids, scores, strict=True))
        return [hit_of(chunk, score_of[chunk.id]) for chunk in found.chunks]

    async def _read(self, query: str, hits: list[Hit], state: ModelState) -> tuple[list[Hit], list[Hit]]:
        """Those of the first hits that the model reads, and what it reads of each. Whoever takes the run over reads the same."""
        known = self._past.steps.get("read")
        if known:
            cut = dict(zip(known["chunk_ids"], known["texts"], strict=True))
            read = [hit for hit in hits if hit.chunk_id in cut]
            return read, [replace(hit, text=cut[hit.chunk_id]) for hit in read]
        talk = [text for _, text in self._asked.history[-prompt.HISTORY_MESSAGES :]]
        offered = hits[:READ_MAX]
        texts = [prompt.passages_text([hit]) for hit in offered]
        rest = " ".join([self._asked.question, *(text[:600] for text in talk)])
        counted = await self._tools.model.count([*texts, rest]) or tuple(budget.tokens_of(text) for text in [*texts, rest])
        allowed = budget.prompt_tokens(state, self._run.options.max_tokens or budget.ANSWER_TOKENS) - counted[-1] - 110
        near: dict[str, float] = {}
        if sum(counted[:-1]) > allowed:
            near = {given: cosine for (_, given), cosine in (await self._cosines([query], offered)).items()}
        shown = excerpts(query, offered, counted[:-1], allowed, near)
        ids = [hit.chunk_id for hit in shown]
        await self._journal.note("step", name="read", chunk_ids=ids, texts=[hit.text for hit in shown])
        return [hit for hit in offered if hit.chunk_id in ids], shown

    async def _held(self, query: str, placed: list[Placed], read: list[Hit]) -> bool:
        """Whether the documents say it."""
        best = strongest(placed)
        if best is None or best.support is None:
            return False
        spoken = read[best.support.passage].language
        if self._language and spoken and spoken != self._language:
            await self._journal.note("step", name="judge", about="cross", likely=round(best.support.score, 4))
            return holds_across(best, read)
        found = evidence(query, placed, read)
        if found is None:
            return False
        likely = likelihood(found)
        row = [round(value, 3) for value in found.row]
        await self._journal.note("step", name="judge", about=found.kind, likely=round(likely, 4), row=row)
        return likely >= LIKELY and not invented(found)

    async def _cosines(self, own: list[str], read: list[Hit]) -> Cosines:
        """Cosines of these sentences with the passages'; none without an embedder."""
        texts = texts_to_embed(own, read)
        try:
            found: Embeddings = await self._tools.directory.call(
                names.EMBEDDING, "embed", timeout_s=EMBED_S, request=EmbedRequest(texts=tuple(texts))
            )
        except PerenneError as error:
            log.info("sentences are compared by words alone: %s", error)
            return {}
        return cosines_of(texts, own, found)

    async def _declined(self, why: str, usage: Usage | None = None) -> Answered:
        """Say that the documents do not say. Words that were already shown are taken back first."""
        await self._journal.note("step", name="decline", why=why)
        self.writer.written.text = self.writer.written.text or self._past.text
        await self.writer.begin_again("no passage holds the answer", "withdrawn")
        text = replies.declined(self._language)
        self.writer.written.text = text
        await self._journal.say(text)
        await self._journal.flush()
        return Answered(text, usage=usage)


def cosines_of(texts: list[str], own: list[str], found: Embeddings) -> dict[tuple[str, str], float]:
    """By one of `own` and one of `texts`, which `found` has the vectors of."""
    values = array("f", found.data)
    rows = [values[n * found.dimension : (n + 1) * found.dimension] for n in range(found.count)]
    by_text = dict(zip(texts, rows, strict=True))
    return {(a, b): sum(x * y for x, y in zip(by_text[a], by_text[b], strict=True)) for a in own for b in texts}


class _Turn:
    """A place among the generations; a status when it has to be waited for."""

    def __init__(self, generating: asyncio.Semaphore, journal: Journal) -> None:
        self._generating, self._journal = generating, journal

    async def __aenter__(self) -> None:
        if self._generating.locked():
            await self._journal.note("status", stage="queued", detail="others are being answered")
        await self._generating.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._generating.release()
