"""Fit when an answer stands: `python -m benchmarks.fit_grounding --samples DIR`, writes actors/runs/grounding.json.

Questions of a seed of their own, half of them without their passage, are answered through the real cores and the default
model; no question and no passage that `benchmarks/answers.py` evaluates is among them. Drafts are kept in
build/fit/grounding.jsonl and not asked for again, so that the features can change without another hour of the model. A row is
positive when the question's passage was among those that the model read; what is held out is counted by whether there was one.
A logistic regression with a little ridge, by Newton's method, one for facts and one for decisions, both held towards all of them
together. Another question's draft in a draft's place does not fit; it shows whether inventions are seen.
"""

import argparse
import asyncio
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.models.replicas import LanguageReplica
from actors.runs.answer import cosines_of
from actors.runs.cite import claims_in, places, texts_to_embed
from actors.runs.decline import refuses, vacuous
from actors.runs.fuse import probability
from actors.runs.judge import FEATURES, KINDS, LIKELY, Evidence, evidence, invented
from benchmarks.fit_fusion import logistic
from benchmarks.house import USER, House, OnnxSentences, samples_of
from benchmarks.questions.draw import Draw, Drawn, draw
from perenne import names
from perenne.api import decode
from perenne.following import follow_run
from perenne.ids import new_id
from perenne.messages.commands import PostMessage
from perenne.messages.models import Embeddings
from perenne.messages.search import Hit

FIT_SEED = "fit-1"
RIDGE = 2.0
SPACE = "use-multilingual-q8"
FOLDS = 10
TARGET = Path(__file__).resolve().parent.parent / "actors" / "runs" / "grounding.json"
DRAFTS = Path("build", "fit", "grounding.jsonl")


@dataclass(frozen=True, slots=True)
class Row:
    """A draft as the judge sees it. `answerable`: the documents answer; `label`: the passage that does was read, too. `real`: the
    question's own draft. `empty`: declined before it is judged."""

    seen: Evidence
    label: bool
    answerable: bool
    real: bool
    empty: bool


def fitting(samples: Path, most: int) -> Draw:
    """Questions of both languages, `most` of each kind; nothing that is evaluated."""
    evaluated = draw(samples)
    ids = {one.id for one in evaluated.questions}
    documents = {one.document for one in evaluated.questions}
    drawn = draw(samples, FIT_SEED, most, most, evaluating=False)
    kept = tuple(one for one in drawn.questions if one.id not in ids and one.document not in documents)
    return Draw(kept, drawn.gold, drawn.leave_out)


async def draft(house: House, project: str, drawn: Drawn) -> dict[str, Any]:
    """What the model read and wrote for one question; no draft when nothing found was worth reading."""
    run_id = new_id("run")
    post = PostMessage(
        command_id=new_id("cmd"),
        user_id=USER,
        conversation_id=new_id("cnv"),
        message_id=new_id("msg"),
        reply_id=new_id("msg"),
        run_id=run_id,
        text=drawn.text,
        project_id=project,
    )
    await house.store.write(post)
    await house.directory.call(names.RUN_HOST, "start", timeout_s=5.0, run_id=run_id)
    hits: list[dict[str, Any]] = []
    text, over = "", False
    read: list[int] = []
    async for event in follow_run(house.directory, house.store, USER, run_id):
        if event.kind == "sources":
            hits = event.data["hits"]
        elif event.kind == "step" and event.data["name"] == "read":
            read = event.data["chunk_ids"]
        elif event.kind == "restarted":
            over = True
        elif event.kind == "delta" and read and not over:
            text += event.data["text"]
    return {**asdict(drawn), "hits": [hit for hit in hits if hit["chunk_id"] in read], "draft": text}


def kept_drafts() -> list[dict[str, Any]]:
    """What earlier runs left."""
    return [json.loads(line) for line in DRAFTS.read_text("utf-8").splitlines()] if DRAFTS.is_file() else []


def keep(row: dict[str, Any]) -> None:
    DRAFTS.parent.mkdir(parents=True, exist_ok=True)
    with DRAFTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


async def collect(home: Path, models: Path, samples: Path, drawn: Draw, missing: list[Drawn]) -> None:
    """Drafts of the questions that have none yet."""
    house = House(home, models)
    house.directory.put(names.LANGUAGE, LanguageReplica(house.settings))
    await house.begin()
    project = await house.mixed(samples, drawn.leave_out)
    for number, one in enumerate(missing, 1):
        keep(await draft(house, project, one))
        print(f"{number}/{len(missing)}", flush=True)


def rows_of(drafts: list[dict[str, Any]], embedder: OnnxSentences) -> dict[str, list[Row]]:
    """Evidence and label of each draft, by kind; and of the next question's draft put in its place, which is no answer to it."""
    found: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    by_language = {
        language: [row for row in drafts if row["language"] == language and row["draft"]]
        for language in {r["language"] for r in drafts}
    }
    for own in by_language.values():
        for number, row in enumerate(own):
            strange = own[(number + 1) % len(own)]["draft"]
            there = bool(row["answerable"])
            label = there and any(hit["external_id"] == row["document"] for hit in row["hits"])
            for text, own_draft in ((row["draft"], True), (strange, False)):
                seen = seen_in(row, text, embedder)
                if seen is not None:
                    empty = refuses(text) or vacuous(row["text"], text)
                    found[seen.kind].append(Row(seen, label and own_draft, there and own_draft, own_draft, empty))
    return found


def seen_in(row: dict[str, Any], text: str, embedder: OnnxSentences) -> Evidence | None:
    """Evidence for a text as the answer to a row's question."""
    hits = decode(tuple[Hit, ...], row["hits"])
    texts = texts_to_embed(claims_in(text), hits)
    vectors = embedder.vectors(texts)
    embedded = Embeddings(space="", dimension=vectors.shape[1], count=len(texts), data=vectors.astype("<f4").tobytes())
    cosines = cosines_of(texts, claims_in(text), embedded)
    return evidence(row["text"], places(row["text"], text, hits, cosines, row["language"]), hits)


def weights_of(rows: list[Row], prior: np.ndarray | None = None) -> np.ndarray:
    own = [row for row in rows if row.real]
    x, y = np.array([row.seen.row for row in own]), np.array([float(row.label) for row in own])
    return logistic(x, y, prior, RIDGE)


def fitted(rows: dict[str, list[Row]]) -> dict[str, np.ndarray]:
    """Weights by kind."""
    prior = weights_of([row for kind in KINDS for row in rows[kind]])
    return {kind: weights_of(rows[kind], prior) for kind in KINDS}


def held_out(rows: dict[str, list[Row]], unread: list[dict[str, Any]]) -> dict[str, float]:
    """Shares that would be declined, each row judged by a fit without it. `unread`: declined before anything was read."""
    declined: dict[str, list[bool]] = {"answerable": [], "unanswerable": [], "another's answer": []}
    for row in unread:
        declined["answerable" if row["answerable"] else "unanswerable"].append(True)
    for fold in range(FOLDS):
        weights = fitted({kind: [row for n, row in enumerate(rows[kind]) if n % FOLDS != fold] for kind in KINDS})
        for kind in KINDS:
            for row in rows[kind][fold::FOLDS]:
                group = "answerable" if row.answerable else "unanswerable" if row.real else "another's answer"
                likely = probability(row.seen.row, tuple(weights[kind]))
                declined[group].append(likely < LIKELY or row.empty or invented(row.seen))
    return {group: round(float(np.mean(those)), 2) for group, those in declined.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples")
    parser.add_argument("--models", default="build/models", type=Path)
    parser.add_argument("--home", type=Path, help="keep the instance here and use it again")
    parser.add_argument(
        "--most", type=int, default=50, help="answerable questions of each language, and as many without answer"
    )
    given = parser.parse_args()
    samples = samples_of(given.samples)
    drawn = fitting(samples, given.most)
    had = {row["id"] for row in kept_drafts()}
    missing = [one for one in drawn.questions if one.id not in had]
    if missing:
        home = given.home or Path(tempfile.mkdtemp(prefix="perenne-fit-"))
        asyncio.run(collect(home, given.models.resolve(), samples, drawn, missing))
    wanted = {one.id for one in drawn.questions}
    drafts = [row for row in kept_drafts() if row["id"] in wanted]
    rows = rows_of(drafts, OnnxSentences(given.models / SPACE, SPACE))
    declined = held_out(rows, [row for row in drafts if not row["draft"]])
    print("held out, declined:", declined)
    weights = {kind: [round(float(w), 4) for w in found] for kind, found in fitted(rows).items()}
    for kind in KINDS:
        print(kind, len(rows[kind]), dict(zip(FEATURES, weights[kind], strict=True)))
    counts = {kind: [sum(row.label is label for row in rows[kind] if row.real) for label in (True, False)] for kind in KINDS}
    provenance = (
        f"logistic regression, ridge {RIDGE:g}, by benchmarks/fit_grounding.py, seed {FIT_SEED}; drafts of the default model; "
        f"rows for and against, by kind: {counts}; declined when held out: {declined}"
    )
    TARGET.write_text(json.dumps({"provenance": provenance, "features": FEATURES, "weights": weights}, indent=1) + "\n")


if __name__ == "__main__":
    main()
