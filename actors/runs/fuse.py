"""One score out of two searches: how likely it is that a passage bears on the question, from 0 to 1."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import cast

from perenne.messages.records import Chunk

FEATURES = ("bias", "bm25", "bm25_share", "bm25_lead", "coverage", "cosine", "cosine_gap", "cosine_lead")
PAIRS = ("same", "cross")  # language of question and passage
HALVES = ("both", "lexical", "dense")  # which searches answered


@dataclass(frozen=True, slots=True)
class Question:
    """What the features need of a query: its language and its stems."""

    language: str | None
    stems: frozenset[str]


@dataclass(frozen=True, slots=True)
class Half:
    """What one search answered: scores by chunk id. None where the search itself is missing. `floor`: at most this is what the
    search would have given to a passage that it did not return."""

    scores: Mapping[int, float]
    top: float = field(init=False)
    second: float = field(init=False)
    floor: float = field(init=False)

    def __post_init__(self) -> None:
        ranked = sorted(self.scores.values(), reverse=True) or [0.0]
        object.__setattr__(self, "top", ranked[0])
        object.__setattr__(self, "second", ranked[1] if len(ranked) > 1 else 0.0)
        object.__setattr__(self, "floor", ranked[-1])


def pair_of(question: Question, language: str | None) -> str:
    """Unknown languages count as the same: then words are trusted."""
    return "cross" if question.language and language and question.language != language else "same"


def features(
    question: Question, chunk_id: int, passage: frozenset[str], lexical: Half | None, dense: Half | None
) -> tuple[float, ...]:
    """The row that the coefficients are for, in the order of FEATURES."""
    bm25 = share = bm25_lead = cosine = gap = cosine_lead = 0.0
    if lexical is not None:
        score = max(0.0, lexical.scores.get(chunk_id, 0.0))
        top = max(lexical.top, 1e-9)
        bm25 = math.log1p(score / max(1, len(question.stems)))
        share = score / top
        bm25_lead = (top - max(0.0, lexical.second)) / top if score == lexical.top and score > 0 else 0.0
    if dense is not None:
        cosine = dense.scores.get(chunk_id, dense.floor)
        gap = dense.top - cosine
        cosine_lead = dense.top - dense.second if gap == 0.0 and len(dense.scores) > 1 else 0.0
    coverage = len(question.stems & passage) / len(question.stems) if question.stems else 0.0
    return (1.0, bm25, share, bm25_lead, coverage, cosine, gap, cosine_lead)


@cache
def coefficients() -> dict[str, dict[str, tuple[float, ...]]]:
    """`fusion.json`, fitted by `benchmarks/fit_fusion.py` on questions that no evaluation uses."""
    read = json.loads(resources.files("actors.runs").joinpath("fusion.json").read_text(encoding="utf-8"))
    return cast(
        "dict[str, dict[str, tuple[float, ...]]]",
        {half: {pair: tuple(read["weights"][half][pair]) for pair in PAIRS} for half in HALVES},
    )


def probability(row: Sequence[float], weights: Sequence[float]) -> float:
    """The logistic function of the weighted row."""
    z = sum(x * w for x, w in zip(row, weights, strict=True))
    return 1.0 / (1.0 + math.exp(-max(-40.0, min(40.0, z))))


def fuse(
    question: Question,
    chunks: Sequence[Chunk],
    passages: Mapping[int, frozenset[str]],
    lexical: Half | None,
    dense: Half | None,
) -> list[tuple[Chunk, float]]:
    """Chunks with their calibrated score, best first; ties by id, so that the order is the same every time."""
    half = "both" if lexical is not None and dense is not None else ("lexical" if lexical is not None else "dense")
    weights = coefficients()[half]
    scored = [
        (
            chunk,
            probability(
                features(question, chunk.id, passages[chunk.id], lexical, dense), weights[pair_of(question, chunk.language)]
            ),
        )
        for chunk in chunks
    ]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0].id))
