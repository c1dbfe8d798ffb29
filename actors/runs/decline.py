"""When the honest answer is that the documents do not say."""

import math
import re
from collections.abc import Sequence

from actors.runs.prompt import grounded_messages
from actors.runs.words import stems, words
from perenne.messages.models import ChatMessage
from perenne.messages.records import Role
from perenne.messages.search import Hit

# A best passage less likely than this to bear on the question is not read. On questions kept out of the fit, 5 to 10 in 100
# answerable ones were under 0.08 to 0.12 (squad-es) and 0.15 to 0.33 (PubMedQA); it stands between.
HOPELESS = 0.1
# Log-odds of "yes" over "no" at which a 1.5B model, asked whether the passages answer, is as often right as wrong (12 tuning
# questions): it leans to "no" in Spanish. Better passages move the bar down, worse ones up, from the pivot on.
_LEANING = {"es": -0.95, "en": 0.3}
_PIVOT, _SLOPE = 0.2, 0.5
VERDICT_GRAMMAR = 'root ::= "yes" | "no"'

_REFUSES = re.compile(
    r"\b(no (se )?(menciona|mencionan|indica|especifica|proporciona|proporcionan|contiene|contienen|dice|encuentra|hay informaci)"
    r"|not (mentioned|provided|specified|stated|given|found|contain)|(do|does|did) not (mention|provide|specify|state|contain|say|give)"
    r"|no information|cannot be (determined|answered)|(is|are) no mention|no puedo|i (cannot|can't|don't know)|no lo sé)",
    re.IGNORECASE,
)
_CHECK = {
    "en": "Question: {question}\nIs the answer to this question stated in the passages? Reply yes or no.",
    "es": "Pregunta: {question}\n¿Está en los pasajes la respuesta a esta pregunta? Responde yes o no.",
}


def hopeless(hits: Sequence[Hit]) -> bool:
    """Nothing found bears on the question."""
    return not hits or hits[0].score < HOPELESS


def verdict_messages(
    question: str, hits: Sequence[Hit], history: Sequence[tuple[Role, str]], language: str | None
) -> tuple[ChatMessage, ...]:
    """Asks whether the passages answer; begins with the same words as the answer's prompt, so that they are read once."""
    *before, _ = grounded_messages(question, hits, history, language)
    asked = _CHECK.get(language or "en", _CHECK["en"]).format(question=question)
    return (*before, ChatMessage(role="user", content=asked))


def verdict_bias(best: float, language: str | None) -> float:
    """What is added to "no" before the model chooses: it has to be surer of a yes the less likely the best passage is."""
    odds = math.log(max(1e-4, best) / max(1e-4, 1.0 - best)) - math.log(_PIVOT / (1.0 - _PIVOT))
    return round(_LEANING.get(language or "en", _LEANING["en"]) - _SLOPE * odds, 3)


def vacuous(question: str, answer: str) -> bool:
    """The answer says nothing that the question did not say, and is no yes or no."""
    said = words(answer)
    if said[:1] in (["yes"], ["no"], ["si"]):
        return False
    return not frozenset(stems(answer)) - frozenset(stems(question))


def refuses(answer: str) -> bool:
    """The model itself says that it was not told."""
    return not answer.strip() or _REFUSES.search(answer[:300]) is not None
