"""When the honest answer is that the documents do not say."""

import re
from collections.abc import Sequence

from actors.runs.words import stems, words
from perenne.messages.search import Hit

# A best passage less likely than this to bear on the question is not read; above it, what is written from it is judged
# (actors/runs/judge.py). Of questions kept out of the fit, 5 in 100 answerable ones were under 0.08 (squad-es) and 0.15 (PubMedQA).
HOPELESS = 0.05

_REFUSES = re.compile(
    r"\b(no (se )?(menciona|mencionan|indica|especifica|proporciona|proporcionan|contiene|contienen|dice|encuentra|hay informaci)"
    r"|not (mentioned|provided|specified|stated|given|found|contain)|(do|does|did) not (mention|provide|specify|state|contain|say|give)"
    r"|no information|cannot be (determined|answered)|(is|are) no mention|no puedo|i (cannot|can't|don't know)|no lo sé)",
    re.IGNORECASE,
)


def hopeless(hits: Sequence[Hit]) -> bool:
    """Nothing found bears on the question."""
    return max((hit.score for hit in hits), default=0.0) < HOPELESS  # a reranker may put another one first


def vacuous(question: str, answer: str) -> bool:
    """The answer says nothing that the question did not say, and is no yes or no."""
    said = words(answer)
    if said[:1] in (["yes"], ["no"], ["si"]):
        return False
    return not frozenset(stems(answer)) - frozenset(stems(question))


def refuses(answer: str) -> bool:
    """The model itself says that it was not told."""
    return not answer.strip() or _REFUSES.search(answer[:300]) is not None
