"""What is searched for: the question as it stands, or rewritten when it leans on what was said before."""

import re
from collections.abc import Sequence

from actors.runs.words import stems, words
from perenne.messages.models import ChatMessage
from perenne.messages.records import Role

REWRITE_TOKENS = 64
_HISTORY_CHARS = 400  # of each earlier message, enough to know what "it" is

_LEANS = frozenset(
    {
        *("it", "its", "he", "she", "they", "them", "him", "her", "his", "their", "theirs", "this", "that", "these", "those"),
        *("there", "then", "one", "ones", "both", "former", "latter", "same", "previous", "above"),
        *("eso", "esto", "ese", "esa", "esos", "esas", "aquel", "aquella", "ello", "ellos", "ellas", "el", "ella", "su", "sus"),
        *("lo", "alli", "ahi", "entonces", "mismo", "misma", "ambos", "anterior", "dicho", "dicha"),
    }
)
_ARTICLES = frozenset({"el", "lo", "that", "this", "these", "those", "one", "esta", "then", "there", "same", "su", "sus"})
_FOLLOWS = re.compile(
    r"^\W*(and|y|e|but|pero|or|o|so|entonces|what about|how about|qué hay|why|por qué|more|más)\b", re.IGNORECASE
)


def stands_alone(question: str, history: Sequence[tuple[Role, str]]) -> bool:
    """Whether the question says by itself what it is about. Without history there is nothing to lean on."""
    if not history:
        return True
    said = words(question)
    carried = stems(question)
    if len(carried) < 2 or _FOLLOWS.match(question):
        return False
    leaning = [word for word in said if word in _LEANS]
    if not leaning:
        return True
    # Words that are also articles or determiners ("el motor", "that engine") lean only in a question that says little else.
    return all(word in _ARTICLES for word in leaning) and len(carried) >= 4


def rewrite_messages(question: str, history: Sequence[tuple[Role, str]], language: str | None) -> tuple[ChatMessage, ...]:
    """The prompt that asks for one question that stands alone."""
    told = "\n".join(f"{role}: {text[:_HISTORY_CHARS]}" for role, text in history[-4:])
    if language == "es":
        system = "Reescribe la última pregunta para que se entienda sin la conversación. Responde solo con la pregunta."
        asked = f"Conversación:\n{told}\n\nÚltima pregunta: {question}\nPregunta reescrita:"
    else:
        system = "Rewrite the last question so that it is understood without the conversation. Answer with the question only."
        asked = f"Conversation:\n{told}\n\nLast question: {question}\nRewritten question:"
    return (ChatMessage(role="system", content=system), ChatMessage(role="user", content=asked))


def joined(question: str, history: Sequence[tuple[Role, str]]) -> str:
    """What to search for when nobody can rewrite: the last question asked before, and this one."""
    before = next((text for role, text in reversed(history) if role == "user"), "")
    return f"{before[:_HISTORY_CHARS]} {question}".strip()


def cleaned(rewritten: str, question: str) -> str:
    """The first line of what the model wrote; the question itself when that is nothing or a speech."""
    line = next((part.strip() for part in rewritten.splitlines() if part.strip()), "").strip('"«» ')
    return line if 3 <= len(line) <= max(300, 3 * len(question)) else question
