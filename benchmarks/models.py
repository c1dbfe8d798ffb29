"""Which models to come with: answers over a given text, and retrieval, in English and in Spanish as equals.

    python -m benchmarks.models --samples FOLDER [--questions 10] [--language ID …] [--embedding ID …]

FOLDER holds squad-es/ and pubmedqa/ in the BEIR layout. Questions are drawn by a fixed seed; the right passage is given, so that the
figure is the model's own and not the search's. Questions of squad-es ask for a short answer, which counts when it is contained; those
of pubmedqa are yes or no. Declining is asked with the passage of another question."""

import argparse
import asyncio
import gzip
import json
import os
import random
import re
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.models.catalogue import entry_of
from actors.models.engines import files_for, make_embedder, make_language
from actors.models.protocols import Embedder, LanguageModel
from benchmarks.report import Figure, publish
from perenne.messages.models import ChatMessage, EmbedRequest, GenerateRequest
from perenne.settings import ModelSettings

SEED = 20_260_101
LANGUAGES = ("qwen2.5-coder-1.5b-instruct-q4_k_m", "qwen2.5-coder-0.5b-instruct-q4_k_m")
EMBEDDINGS = ("use-multilingual-q8", "all-minilm-l6-v2-int8")
_PASSAGES = 500  # searched through, for each language
_QUERIES = 100
_NOT_THERE = {"en": "Not in the text.", "es": "No está en el texto."}
_ASK = {
    "en": "Answer the question from the text, briefly and in English. If the answer is not in the text, say exactly: Not in the text.",
    "es": "Responde a la pregunta según el texto, brevemente y en español. Si la respuesta no está en el texto, "
    "di exactamente: No está en el texto.",
}


@dataclass(frozen=True, slots=True)
class Question:
    language: str
    text: str
    passage: str
    expected: tuple[str, ...]  # empty: the passage does not hold the answer


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def draw(samples: Path, count: int) -> list[Question]:
    """`count` answerable questions of each language, and half as many whose passage is another's."""
    rng = random.Random(SEED)
    found: list[Question] = []
    for language, folder in (("es", "squad-es"), ("en", "pubmedqa")):
        passages = {p["_id"]: p["text"] for p in _lines(samples / folder / "corpus.jsonl.gz")}
        answers = _lines(samples / folder / "answers.jsonl")
        if language == "en":
            answers = [a for a in answers if a["final_decision"] in ("yes", "no")]
        drawn = rng.sample(answers, count + count // 2)
        for number, answer in enumerate(drawn):
            passage = passages[answer["doc_id"] if language == "es" else answer["_id"].removeprefix("q")]
            expected = tuple(answer["answers"]) if language == "es" else (answer["final_decision"],)
            if number >= count:
                passage, expected = rng.choice(list(passages.values())), ()
            found.append(Question(language, answer["question"], passage, expected))
    return found


def folded(text: str) -> str:
    """Without case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join(re.findall(r"\w+", "".join(c for c in plain if not unicodedata.combining(c))))


def is_right(question: Question, answer: str) -> bool:
    said = folded(answer)
    declined = folded(_NOT_THERE[question.language]) in said or "not in the text" in said or "no esta en el texto" in said
    if not question.expected:
        return declined
    if question.language == "en":
        return said.split(" ")[0] == question.expected[0]
    return any(folded(expected) in said for expected in question.expected)


async def answer_all(model: LanguageModel, questions: list[Question]) -> dict[str, Any]:
    """Right answers by kind, and the median seconds to the first word."""
    right: dict[str, list[bool]] = {}
    first_s: list[float] = []
    for number, question in enumerate(questions):
        yes_no = " Begin with yes or no." if question.language == "en" and question.expected else ""
        messages = (
            ChatMessage(role="system", content=_ASK[question.language] + yes_no),
            ChatMessage(role="user", content=f"{question.passage}\n\n{question.text}"),
        )
        began, first, said = time.monotonic(), 0.0, ""
        async for chunk in model.stream(
            GenerateRequest(request_id=f"bench-{number}", messages=messages, max_tokens=48, temperature=0.0, seed=1)
        ):
            if chunk.text and not first:
                first = time.monotonic() - began
            said += chunk.text
        first_s.append(first)
        kind = f"{question.language} {'answered' if question.expected else 'declined'}"
        right.setdefault(kind, []).append(is_right(question, said))
    shares: dict[str, Any] = {kind: (sum(found), len(found)) for kind, found in right.items()}
    return shares | {"first_word_s": sorted(first_s)[len(first_s) // 2], "figures": model.figures()}


async def _vectors(embedder: Embedder, texts: list[str], kind: Any) -> np.ndarray:
    parts = [
        (await embedder.embed(EmbedRequest(texts=tuple(texts[n : n + 256]), kind=kind))).data for n in range(0, len(texts), 256)
    ]
    return np.frombuffer(b"".join(parts), dtype="<f4").reshape(len(texts), -1)


async def similarities(embedder: Embedder, samples: Path, folder: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Cosines of questions and passages, the place of each question's passage, and passages a second."""
    rng = random.Random(SEED)
    passages = _lines(samples / folder / "corpus.jsonl.gz")
    place_of = {p["_id"]: n for n, p in enumerate(passages[:_PASSAGES])}
    judged = [line.split("\t") for line in (samples / folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    right = {question: place_of[passage] for question, passage, _ in judged if passage in place_of}
    queries = [q for q in _lines(samples / folder / "queries.jsonl") if q["_id"] in right]
    queries = rng.sample(queries, min(_QUERIES, len(queries)))
    began = time.monotonic()
    rows = await _vectors(embedder, [p["text"] for p in passages[:_PASSAGES]], "passage")
    speed = _PASSAGES / (time.monotonic() - began)
    asked = await _vectors(embedder, [q["text"] for q in queries], "query")
    return asked @ rows.T, np.array([right[q["_id"]] for q in queries]), speed


def ndcg_at_10(scores: np.ndarray, right: np.ndarray) -> float:
    """One right passage a question: 1/log2(1+rank) when it is among the first ten."""
    ranks = (scores > scores[np.arange(len(right)), right][:, None]).sum(axis=1) + 1
    return float(np.mean(np.where(ranks <= 10, 1.0 / np.log2(1.0 + ranks), 0.0)))


def _standardised(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)


def _settings(model_id: str) -> ModelSettings:
    return ModelSettings(engine=entry_of(model_id).engine, model=model_id, context_tokens=4096, queue=64)


async def measure(asked: argparse.Namespace) -> list[Figure]:
    """All figures, models one after another."""
    figures: list[Figure] = []
    for folder, language in (("squad-es", "Spanish"), ("pubmedqa", "English")):
        both: np.ndarray | None = None
        right = np.array([])
        for model_id in asked.embedding:
            settings = _settings(model_id)
            embedder = make_embedder(settings, files_for(settings, asked.models_dir))
            scores, right, speed = await similarities(embedder, asked.samples, folder)
            embedder.close()
            both = _standardised(scores) if both is None else both + _standardised(scores)
            figures.append(Figure(f"{model_id}: nDCG@10, {language}", ours=ndcg_at_10(scores, right)))
            figures.append(Figure(f"{model_id}: {language} passages embedded", ours=speed, unit="texts/s"))
        if both is not None and len(asked.embedding) > 1:
            figures.append(Figure(f"all of them, summed: nDCG@10, {language}", ours=ndcg_at_10(both, right)))
    questions = draw(asked.samples, asked.questions)
    for model_id in asked.language:
        settings = _settings(model_id)
        model = make_language(settings, files_for(settings, asked.models_dir))
        found = await answer_all(model, questions)
        model.close()
        speeds = found.pop("figures")
        figures.append(Figure(f"{model_id}: first word, median", ours=found.pop("first_word_s"), unit="s"))
        figures.append(Figure(f"{model_id}: prompt read", ours=speeds.prompt_tokens_per_s or 0.0, unit="tokens/s"))
        figures.append(Figure(f"{model_id}: written", ours=speeds.tokens_per_s or 0.0, unit="tokens/s"))
        for kind, (right_count, of) in found.items():
            figures.append(Figure(f"{model_id}: {kind}", ours=right_count / of, unit=f"of {of}"))
    return figures


def main() -> None:
    """Measure and print; the figures are written too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--samples", type=Path, default=os.environ.get("PERENNE_SAMPLES"), required="PERENNE_SAMPLES" not in os.environ
    )
    parser.add_argument("--models-dir", type=Path, default=Path("build/models"))
    parser.add_argument("--questions", type=int, default=10, help="answerable ones, of each language")
    parser.add_argument("--language", nargs="*", default=LANGUAGES)
    parser.add_argument("--embedding", nargs="*", default=EMBEDDINGS)
    publish("models", asyncio.run(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
