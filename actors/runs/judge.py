"""Whether an answer is what the documents say, from 0 to 1: out of search, of the words it shares with the passage, and of how well
that holds it. A small model asked for its own verdict says yes to nearly everything, so it is not asked."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from actors.runs.cite import SUPPORTED, YES_OR_NO, Placed, strongest
from actors.runs.fuse import probability
from actors.runs.sentences import sentences
from actors.runs.words import stems
from perenne.messages.search import Hit

# From here on an answer stands; below it, the honest answer is that the documents do not say. Of 194 questions, each judged by a
# fit without it, 72 in 100 of those without an answer were declined, and 19 of the others (in 9 of those 19 the passage was not
# found, or the draft said nothing); at 0.3 it was 82 and 22, at 0.1 66 and 14.
LIKELY = 0.15
# Of a decision's own words, those that the passage must have. Of drafts put under other questions hardly one had half of them in
# what was read there; of right decisions one in twenty had fewer (benchmarks/fit_grounding.py).
SAID_MIN = 0.5
# Between languages words can't be compared: the support decides, on a passage at least this likely to bear on the question. Of 16
# Spanish questions asked without their English passage, what was found in its place was less likely in 14.
BEARS_ACROSS = 0.1
KINDS = ("fact", "decision")  # a decision is a yes or no: drawn from a passage, seldom said in it
FEATURES = ("bias", "bears", "support", "together", "in_one_sentence")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for an answer. `row` in the order of FEATURES; `support`: how likely the passage holds the best sentence;
    `said`: share in the passage of that sentence's words which the question did not have, 1 if it has none."""

    kind: str
    row: tuple[float, ...]
    support: float
    said: float


def evidence(question: str, placed: Sequence[Placed], hits: Sequence[Hit]) -> Evidence | None:
    """Of the best supported sentence and its passage; None when no sentence says anything.

    bears: log-odds that the passage bears on the question, by search. support: log-odds that it holds the sentence. together:
    share of the question's neighbouring words that are neighbours there. in_one_sentence: share of the question's words in a
    single sentence of any passage read."""
    best = strongest(placed)
    if best is None or best.support is None:
        return None
    hit = hits[best.support.passage]
    asked = stems(question)
    wanted = frozenset(asked)
    there = frozenset(stems(f"{hit.title}\n{hit.text}"))
    new = frozenset(stems(best.sentence.text)) - wanted
    pairs = frozenset(itertools.pairwise(asked))
    nearest = max((_share(wanted, frozenset(stems(one.text))) for given in hits for one in sentences(given.text)), default=0.0)
    row = (
        1.0,
        _log_odds(hit.score),
        _log_odds(best.support.score),
        _share(pairs, frozenset(itertools.pairwise(stems(hit.text)))),
        nearest,
    )
    kind = "decision" if YES_OR_NO.match(f"{best.sentence.text} ") else "fact"
    return Evidence(kind, row, best.support.score, _share(new, there) if new else 1.0)


def invented(found: Evidence) -> bool:
    """No passage has what the answer says, whatever else speaks for it."""
    return found.said < SAID_MIN if found.kind == "decision" else found.support < SUPPORTED


def holds_across(placed: Placed, hits: Sequence[Hit]) -> bool:
    """Whether a passage in another language than the question's holds its best supported sentence."""
    support = placed.support
    return support is not None and support.score >= SUPPORTED and hits[support.passage].score >= BEARS_ACROSS


def likelihood(found: Evidence) -> float:
    """How likely the documents say it."""
    return probability(found.row, coefficients()[found.kind])


@cache
def coefficients() -> dict[str, tuple[float, ...]]:
    """`grounding.json`, fitted by `benchmarks/fit_grounding.py` on questions that no evaluation uses."""
    read = json.loads(resources.files("actors.runs").joinpath("grounding.json").read_text(encoding="utf-8"))
    return {kind: tuple(float(weight) for weight in read["weights"][kind]) for kind in KINDS}


def _share(part: frozenset[object], whole: frozenset[object]) -> float:
    return len(part & whole) / len(part) if part else 0.0


def _log_odds(share: float) -> float:
    kept = min(1.0 - 1e-4, max(1e-4, share))
    return math.log(kept / (1.0 - kept))
