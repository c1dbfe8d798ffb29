"""When the honest answer is that the documents do not say."""

import re
from collections.abc import Sequence

from actors.runs.prompt import grounded_messages
from perenne.messages.models import ChatMessage
from perenne.messages.records import Role
from perenne.messages.search import Hit

HOPELESS = 0.03  # a best passage less likely than this to bear on the question is not worth reading
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


def refuses(answer: str) -> bool:
    """The model itself says that it was not told."""
    return not answer.strip() or _REFUSES.search(answer[:300]) is not None
