"""Sentences of a text, with where they stand."""

import re
from dataclasses import dataclass

_END = re.compile(r"(?<=[.!?…])[\"'»”)\]]*\s+(?=[\"'«“(\[¿¡]*[A-ZÁÉÍÓÚÑÜ0-9])|\n+")
_SHORT = re.compile(
    r"(?:\b(?:Dr|Dra|Mr|Mrs|Ms|Sr|Sra|St|Sta|vs|etc|e\.g|i\.e|al|No|núm|art|Fig|fig|p|pp|EE|UU|U\.S|a\.C|d\.C|approx|cf)|\b[A-Z])\.$"
)


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    start: int
    end: int


def sentences(text: str) -> list[Sentence]:
    """Sentences and lines, trimmed, in order; abbreviations do not end one."""
    found: list[Sentence] = []
    start = 0
    for match in [*_END.finditer(text), None]:
        end = match.start() if match else len(text)
        if match and "\n" not in match.group() and _SHORT.search(text[start:end]):
            continue
        piece = text[start:end]
        left = len(piece) - len(piece.lstrip())
        trimmed = piece.strip()
        if trimmed:
            found.append(Sentence(trimmed, start + left, start + left + len(trimmed)))
        start = match.end() if match else len(text)
    return found
