"""Questions drawn by a seed: half Spanish, half English, some without an answer because their passages are left out."""

import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.house import corpus, rows
from benchmarks.questions.split import fits

SEED = "perenne-answers-3"  # nothing was tuned or fitted on what it draws


@dataclass(frozen=True, slots=True)
class Drawn:
    """One question. `answers`: strings of which one must stand in the answer; for yes/no questions the one word."""

    id: str
    language: str
    text: str
    answers: tuple[str, ...]
    document: str
    answerable: bool

    @property
    def decision(self) -> bool:
        """A yes/no question."""
        return self.answers in (("yes",), ("no",))


@dataclass(frozen=True, slots=True)
class Draw:
    """The questions, the gold passages' texts, and the documents that must not be in the corpus."""

    questions: tuple[Drawn, ...]
    gold: dict[str, str]
    leave_out: frozenset[str]


def draw(samples: Path, seed: str = SEED, answerable: int = 22, unanswerable: int = 8, evaluating: bool = True) -> Draw:
    """Per language so many of each; `evaluating` leaves out the questions that search was fitted on. An unanswerable question
    loses its passage and, of the same article, every passage that holds an answer; a passage that an answerable question needs is
    never left out."""
    rng = random.Random(seed)
    spanish = {one.id: one.text for one in corpus(samples, "squad-es")}
    english = {one.id: one.text for one in corpus(samples, "pubmedqa")}
    asked_es = sorted(rows(samples, "squad-es", "answers.jsonl"), key=lambda row: row["_id"])
    asked_en = sorted(rows(samples, "pubmedqa", "answers.jsonl"), key=lambda row: row["_id"])
    asked_es = [
        row for row in asked_es if any(len(answer) > 2 and answer in spanish[row["doc_id"]] for answer in row["answers"])
    ]
    asked_en = [row for row in asked_en if row["final_decision"] in ("yes", "no")]
    if evaluating:
        asked_es = [row for row in asked_es if not fits(row["_id"], "squad-es")]
        asked_en = [row for row in asked_en if not fits(row["_id"], "pubmedqa")]
    questions: list[Drawn] = []
    leave_out: set[str] = set()
    for language, asked in (("es", asked_es), ("en", asked_en)):
        rng.shuffle(asked)
        documents: set[str] = set()
        picked: list[Drawn] = []
        for row in asked:
            if row["doc_id"] in documents:
                continue
            documents.add(row["doc_id"])
            answers = tuple(row["answers"]) if language == "es" else (row["final_decision"],)
            kept = len(picked) < answerable
            picked.append(Drawn(row["_id"], language, row["question"], answers, row["doc_id"], kept))
            if len(picked) == answerable + unanswerable:
                break
        questions.extend(picked)
    needed = {one.document for one in questions if one.answerable}
    for one in questions:
        if one.answerable:
            continue
        leave_out.add(one.document)
        if one.language == "es":
            article = one.document.split("-")[0] + "-"
            leave_out.update(
                id
                for id, text in spanish.items()
                if id.startswith(article) and any(answer.lower() in text.lower() for answer in one.answers)
            )
    questions = [one for one in questions if one.answerable or one.document in leave_out]
    gold = {one.document: (spanish | english)[one.document] for one in questions}
    return Draw(tuple(questions), gold, frozenset(leave_out - needed))
