"""What Perenne says in words of its own, in the question's language."""

_DECLINED = {
    "en": "I could not find that in your documents.",
    "es": "No he encontrado eso en tus documentos.",
}
_NOT_READY = {
    "en": "The language model is not available ({state}). Search still works: the passages found are listed as sources.",
    "es": "El modelo de lenguaje no está disponible ({state}). La búsqueda sí funciona: los pasajes hallados están en las fuentes.",
}
_NOTHING_SEARCHED = {
    "en": "The language model is not available ({state}). Search still works.",
    "es": "El modelo de lenguaje no está disponible ({state}). La búsqueda sí funciona.",
}


def _in(texts: dict[str, str], language: str | None) -> str:
    return texts.get(language or "en", texts["en"])


def declined(language: str | None) -> str:
    """The answer when no document holds one."""
    return _in(_DECLINED, language)


def model_away(language: str | None, state: str, searched: bool) -> str:
    """The error when there is nobody to write the answer."""
    return _in(_NOT_READY if searched else _NOTHING_SEARCHED, language).format(state=state)
