"""Prompts. What stays the same between turns comes first, so that a model's prefix cache holds it: rules, passages, then talk."""

from collections.abc import Sequence

from perenne.messages.models import ChatMessage
from perenne.messages.records import Role
from perenne.messages.search import Hit

HISTORY_MESSAGES = 6
_HISTORY_CHARS = 600  # of each

_GROUNDED = {
    "en": (
        "You answer questions from the passages below and from nothing else. Answer in English, in one or two complete "
        "sentences, beginning with the answer itself. Use the passages' own words, names and figures. "
        "A yes/no question is answered with Yes or No and the reason."
    ),
    "es": (
        "Respondes preguntas solo con los pasajes de abajo. Responde en español, en una o dos frases completas, "
        "empezando por la respuesta misma. Usa las palabras, nombres y cifras de los pasajes. "
        "A una pregunta de sí o no se responde con Sí o No y el motivo."
    ),
}
_OTHER = " Answer in the language of the question."
_TALK = {
    "en": "You are Perenne, a private assistant that answers from the user's own documents. Reply in one short, friendly sentence.",
    "es": "Eres Perenne, un asistente privado que responde a partir de los documentos del usuario. Contesta con una frase corta y amable.",
}


def passages_text(hits: Sequence[Hit]) -> str:
    """Passages as the model reads them, numbered as the sources are."""
    return "\n\n".join(f"[{n}] {_heading(hit)}{hit.text.strip()}" for n, hit in enumerate(hits, 1))


def _heading(hit: Hit) -> str:
    parts = [part for part in (hit.title.strip(), *hit.heading_path) if part]
    return f"({' › '.join(' '.join(part.split()) for part in parts)}) " if parts else ""


def _shorter(history: Sequence[tuple[Role, str]]) -> list[ChatMessage]:
    return [
        ChatMessage(role=role, content=text[:_HISTORY_CHARS])
        for role, text in history[-HISTORY_MESSAGES:]
        if role != "system" and text.strip()
    ]


def grounded_messages(
    question: str, hits: Sequence[Hit], history: Sequence[tuple[Role, str]], language: str | None
) -> tuple[ChatMessage, ...]:
    """Rules and passages as the system's word; then the talk so far; then the question."""
    rules = _GROUNDED.get(language or "en", _GROUNDED["en"].replace(" Answer in English, in", " Answer in") + _OTHER)
    title = "Pasajes" if language == "es" else "Passages"
    system = f"{rules}\n\n{title}:\n\n{passages_text(hits)}"
    return (ChatMessage(role="system", content=system), *_shorter(history), ChatMessage(role="user", content=question))


def talk_messages(question: str, history: Sequence[tuple[Role, str]], language: str | None) -> tuple[ChatMessage, ...]:
    """A greeting is answered with one."""
    system = _TALK.get(language or "en", _TALK["en"] + _OTHER)
    return (ChatMessage(role="system", content=system), *_shorter(history), ChatMessage(role="user", content=question))


def bare_messages(question: str, history: Sequence[tuple[Role, str]]) -> tuple[ChatMessage, ...]:
    """The model as it is: the caller's messages and nothing of ours."""
    return (*(ChatMessage(role=role, content=text) for role, text in history), ChatMessage(role="user", content=question))
