"""Fit the weights of hybrid search: `python -m benchmarks.fit_fusion --samples DIR`, writes actors/runs/fusion.json.

Questions are split by a hash of their id: the fifth that fits is never evaluated (`benchmarks/retrieval.py` uses the rest).
A logistic regression with a little ridge, by Newton's method, one for each of (both halves, words alone, meaning alone) and
(question and passage in one language, in two). A positive is a passage of a judged document; candidates are what the two
searches return, with the judged document and once more without it. Documents that were cut count through their passages.
"""

import argparse
import asyncio
import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from actors.runs.fuse import FEATURES, HALVES, PAIRS, Half, features, pair_of
from actors.runs.search import Candidates, Searcher
from benchmarks.house import USER, House, rows, samples_of
from benchmarks.questions.split import fits
from perenne.messages.search import SearchRequest

RIDGE = 1.0
TARGET = Path(__file__).resolve().parent.parent / "actors" / "runs" / "fusion.json"
CROSS = Path(__file__).resolve().parent / "questions" / "pubmedqa-es.jsonl"


@dataclass
class Table:
    """Rows and labels of one (half, pair)."""

    rows: list[tuple[float, ...]] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)


def logistic(x: np.ndarray, y: np.ndarray, prior: np.ndarray | None = None, ridge: float = RIDGE) -> np.ndarray:
    """Weights by Newton's method, held towards `prior` (towards 0 without one, the bias not at all)."""
    start = np.zeros(x.shape[1]) if prior is None else prior
    weights = start.copy()
    hold = np.full(x.shape[1], ridge)
    hold[0] = 1e-6 if prior is None else ridge
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (y - p) - hold * (weights - start)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(hold)
        step = np.linalg.solve(hessian, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def without(found: Candidates, gold: str) -> Candidates:
    """The same search had the judged document not been there: a score has to say so when nothing answers."""
    gone = {chunk.id for chunk in found.chunks if chunk.external_id == gold}

    def kept(half: Half | None) -> Half | None:
        return None if half is None else Half({one: score for one, score in half.scores.items() if one not in gone})

    chunks = [chunk for chunk in found.chunks if chunk.id not in gone]
    return replace(found, lexical=kept(found.lexical), dense=kept(found.dense), chunks=chunks)


def collect(tables: dict[tuple[str, str], Table], found: Candidates, gold: str, wanted: str) -> None:
    """Candidates of one question, as each of the three situations sees them. Only pairs of the question's own kind count:
    in these collections nothing in the other language ever answers, which is no rule of the world."""
    for half in HALVES:
        lexical: Half | None = found.lexical if half != "dense" else None
        dense: Half | None = found.dense if half != "lexical" else None
        for chunk in found.chunks:
            if chunk.id not in (lexical.scores if lexical else {}) and chunk.id not in (dense.scores if dense else {}):
                continue
            pair = pair_of(found.question, chunk.language)
            if pair != wanted:
                continue
            table = tables[half, pair]
            table.rows.append(features(found.question, chunk.id, found.passages[chunk.id], lexical, dense))
            table.labels.append(1.0 if chunk.external_id == gold else 0.0)


async def gather(samples: Path, house: House, project: str, most: int) -> tuple[dict[tuple[str, str], Table], dict[str, int]]:
    """Candidates of the questions that fit."""
    searcher = Searcher(house.directory, house.store, house.settings)
    tables = {(half, pair): Table() for half in HALVES for pair in PAIRS}
    used: dict[str, int] = {}
    for name, questions in questions_of(samples).items():
        chosen = [one for one in questions if fits(one["_id"], name)][:most]
        used[name] = len(chosen)
        for one in chosen:
            request = SearchRequest(user_id=USER, query=one["text"], project_id=project, k=20)
            found = await searcher.candidates(request)
            for seen in (found, without(found, one["gold"])):
                collect(tables, seen, one["gold"], "cross" if name == "pubmedqa-es" else "same")
    return tables, used


def questions_of(samples: Path) -> dict[str, list[dict[str, Any]]]:
    """All questions with their judged document: Spanish on Spanish, English on English, Spanish on English."""
    found: dict[str, list[dict[str, Any]]] = {}
    gold: dict[str, str] = {}
    for name in ("squad-es", "pubmedqa"):
        gold |= {row["_id"]: row["doc_id"] for row in rows(samples, name, "answers.jsonl")}
        found[name] = [one | {"gold": gold[one["_id"]]} for one in rows(samples, name, "queries.jsonl") if one["_id"] in gold]
    if CROSS.is_file():
        lines = CROSS.read_text(encoding="utf-8").splitlines()
        found["pubmedqa-es"] = [one | {"gold": gold[one["_id"]]} for one in map(json.loads, lines)]
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples")
    parser.add_argument("--models", default="build/models", type=Path)
    parser.add_argument("--home", type=Path, help="keep the instance here and use it again")
    parser.add_argument("--most", type=int, default=400, help="questions of one collection")
    given = parser.parse_args()
    samples = samples_of(given.samples)
    home = given.home or Path(tempfile.mkdtemp(prefix="perenne-fit-"))
    house = House(home, given.models.resolve())
    await house.begin()
    project = await house.mixed(samples)
    tables, used = await gather(samples, house, project, given.most)
    TARGET.write_text(json.dumps(fitted(tables, used), indent=1) + "\n")


def fitted(tables: dict[tuple[str, str], Table], used: dict[str, int]) -> dict[str, Any]:
    """What is committed."""
    weights: dict[str, dict[str, list[float]]] = {half: {} for half in HALVES}
    for (half, pair), table in tables.items():
        x, y = np.array(table.rows), np.array(table.labels)
        if not len(y) or y.sum() < 3:
            raise SystemExit(f"{half}/{pair}: {int(y.sum())} positives are too few to fit")
        prior = None
        if pair == "cross":  # few questions: held towards what meaning alone is worth within one language
            prior = logistic(np.array(tables["dense", "same"].rows), np.array(tables["dense", "same"].labels))
        weights[half][pair] = [round(float(w), 4) for w in logistic(x, y, prior)]
        print(half, pair, len(y), int(y.sum()), dict(zip(FEATURES, weights[half][pair], strict=True)))
    provenance = (
        f"logistic regression, ridge {RIDGE:g}, by benchmarks/fit_fusion.py; one mixed project; questions by collection: {used}"
    )
    return {"provenance": provenance, "features": FEATURES, "weights": weights}


if __name__ == "__main__":
    asyncio.run(main())
