"""Claims to the passages that hold them. A small model's own marks are worth little, so each sentence of an answer is compared
with what it was given: words, figures, names and meaning. A sentence that no passage holds gets no mark."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.runs.sentences import Sentence, sentences
from actors.runs.words import names, numbers, stems
from perenne.messages.records import Citation
from perenne.messages.search import Hit

SUPPORTED = 0.5  # estimated probability that the passage holds the claim, from here on it is cited
YES_OR_NO = re.compile(r"\W*(?:yes|no|sí|si)\b\W", re.IGNORECASE)
_MARK = re.compile(r"\s*\[(?:\d+(?:\s*[,;-]\s*\d+)*)\]|\s*\((?:[Pp]as(?:sage|aje)s?) \[?\d+\]?\)")
_QUESTION_SHARE = 0.1  # of two passages that hold a claim, the one that also speaks of what was asked
_RANK_SHARE = 0.1  # and the one that search thinks more of
_SPEAKS_OF = 0.5  # share of a question's words from which on a passage speaks of what was asked

# A claim's weights: bias, share of its words held, share of its new words held (those that the question did not have), cosine,
# a figure that the passage lacks, a name that it lacks. Between languages words can't be held, so meaning has to carry more.
_SAME = (-5.0, 3.0, 4.0, 1.5, -4.0, -2.0)
_CROSS = (-3.4, 0.5, 1.0, 7.0, -4.0, -1.0)

Cosines = Mapping[tuple[str, str], float]  # by sentence of the answer and sentence of a passage; empty without an embedder


@dataclass(frozen=True, slots=True)
class Support:
    """The best place for a claim: passage by position, span within its text, and how sure."""

    passage: int
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A sentence of the answer and the best place for it; None for one that claims nothing of its own."""

    sentence: Sentence
    support: Support | None


@dataclass(frozen=True, slots=True)
class Cited:
    """An answer with its marks, and what they stand for."""

    text: str
    citations: tuple[Citation, ...]


def unmarked(text: str) -> str:
    """The answer without marks that the model invented."""
    return _MARK.sub("", text).strip()


def claim_of(question: str, sentence: str) -> str:
    """What a sentence claims: a bare 'Yes.' or a name claims the question with it."""
    return sentence if len(stems(sentence)) >= 3 else f"{question} {sentence}"


def windows(text: str) -> list[Sentence]:
    """Each sentence of a passage, and each two neighbours: some claims need both."""
    single = sentences(text)
    pairs = [Sentence(text[a.start : b.end], a.start, b.end) for a, b in itertools.pairwise(single)]
    return single + pairs


def _share(part: frozenset[str], whole: frozenset[str]) -> float:
    return len(part & whole) / len(part) if part else 0.0


def support_score(question: str, sentence: str, window: str, hit: Hit, cosine: float, cross: bool) -> float:
    """How likely the window holds the claim, from 0 to 1."""
    claim = frozenset(stems(claim_of(question, sentence)))
    asked = frozenset(stems(question))
    new = frozenset(stems(sentence)) - asked
    held = frozenset(stems(f"{hit.title} {window}"))
    lost_figures = numbers(sentence) - numbers(f"{hit.text} {question}")
    around = frozenset(stems(f"{hit.title} {hit.text} {question}"))
    row = (
        1.0,
        _share(claim, held),
        _share(new, held) if new else _share(claim, held),
        cosine,
        1.0 if lost_figures else 0.0,
        1.0 if names(sentence) - around else 0.0,
    )
    z = sum(x * w for x, w in zip(row, _CROSS if cross else _SAME, strict=True))
    held_here = 1.0 / (1.0 + math.exp(-z))
    if not YES_OR_NO.match(f"{sentence} ") or row[4] or row[5]:
        return held_here
    # A yes or no is drawn from the whole passage and seldom said in one sentence of it: what counts is whether the passage speaks
    # of what was asked, and bears on it, which is what a hit's score estimates.
    speaks = _share(asked, frozenset(stems(f"{hit.title} {hit.text}"))) >= _SPEAKS_OF
    return max(held_here, hit.score) if speaks else held_here


def best_support(question: str, sentence: str, hits: Sequence[Hit], cosines: Cosines, language: str | None) -> Support | None:
    """The window that holds a sentence best; a shorter one where two are as good. None without passages."""
    best: tuple[float, Support] | None = None
    asked = frozenset(stems(question))
    for number, hit in enumerate(hits):
        cross = bool(language and hit.language and language != hit.language)
        about = _QUESTION_SHARE * _share(asked, frozenset(stems(f"{hit.title} {hit.text}"))) + _RANK_SHARE * hit.score
        for window in windows(hit.text):
            cosine = max((cosines.get((sentence, part.text), 0.0) for part in sentences(window.text)), default=0.0)
            score = support_score(question, sentence, window.text, hit, cosine, cross)
            order = score + about - (window.end - window.start) * 1e-5
            if best is None or order > best[0]:
                best = (order, Support(number, window.start, window.end, score))
    return best[1] if best else None


def places(question: str, answer: str, hits: Sequence[Hit], cosines: Cosines, language: str | None) -> list[Placed]:
    """Each sentence of the answer with the window that holds it best."""
    placed: list[Placed] = []
    for sentence in sentences(unmarked(answer)):
        claims = bool(stems(sentence.text)) or not any(one.support for one in placed)
        placed.append(Placed(sentence, best_support(question, sentence.text, hits, cosines, language) if claims else None))
    return placed


def strongest(placed: Sequence[Placed]) -> Placed | None:
    """The sentence that a passage holds best; the first of equals. None when none claims anything."""
    return max((one for one in placed if one.support), key=lambda one: one.support.score if one.support else 0.0, default=None)


def marked(answer: str, placed: Sequence[Placed], hits: Sequence[Hit], bar: float = SUPPORTED) -> Cited:
    """The answer with `[n]` after each sentence that passage `n` (counting from 1, as the sources do) holds, and its citations."""
    clean = unmarked(answer)
    text, last = "", 0
    citations: list[Citation] = []
    for one in placed:
        text += clean[last : one.sentence.start]
        start = len(text)
        text += one.sentence.text
        last = one.sentence.end
        if one.support is not None and one.support.score >= bar:
            citations.append(_citation(one.support, hits[one.support.passage], start, len(text)))
            text += f" [{one.support.passage + 1}]"
    return Cited(text + clean[last:], tuple(citations))


def _citation(support: Support, hit: Hit, start: int, end: int) -> Citation:
    return Citation(
        number=support.passage + 1,
        document_id=hit.document_id,
        chunk_id=hit.chunk_id,
        title=hit.title,
        start=hit.start + support.start,
        end=hit.start + support.end,
        quote=hit.text[support.start : support.end],
        page=hit.page,
        external_id=hit.external_id,
        answer_start=start,
        answer_end=end,
    )


def claims_in(answer: str) -> list[str]:
    """The sentences of an answer, without marks."""
    return [sentence.text for sentence in sentences(unmarked(answer))]


def texts_to_embed(own: Sequence[str], hits: Sequence[Hit]) -> list[str]:
    """These sentences and every one of the passages, once each."""
    return list(dict.fromkeys([*own, *(sentence.text for hit in hits for sentence in sentences(hit.text))]))
