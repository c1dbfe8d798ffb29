"""Where sentences end. Rules for the languages of the Latin script, Spanish and English first, and full-width stops."""

import re
from collections.abc import Iterator

_END = re.compile(r"""[.!?…]+["'»”’)\]]*\s+|[。！？]+["'»”’)\]」』]*\s*|\n[ \t]*\n\s*""")
_LAST_WORD = re.compile(r"(\w[\w.]*)\.[\"'»”’)\]]*\s+$")
_NUMBERING = re.compile(r"\s*\(?(?:\d+[.\d]*|[IVXLC]+\.|[a-zA-Z]\.)\)?\s*")
_LAST_WORD_CHARS = 24  # how far back the word before a stop is looked for

# Words that end in a stop without ending a sentence.
_ABBREVIATIONS = frozenset(
    """mr mrs ms dr prof sr jr st vs etc e.g i.e cf al fig figs eq no nos vol vols pp p ed eds rev gen col lt capt sgt dept inc ltd
    corp co approx sec ch art jan feb mar apr jun jul aug sep sept oct nov dec u.s u.k a.m p.m a.c d.c
    sra srta d dña da dra profa lic ing arq ud uds vd vds ej p.ej pág págs cap núm núms tel teléf av avda admón
    aprox depto ee uu ee.uu arts fdo gral máx mín ss sig sigs hnos cía s.a""".split()  # noqa: SIM905
)


def _ends(text: str, end: int, after: str) -> bool:
    """Whether the stop before `end` ends a sentence, by the word before it and the character after it."""
    if after.islower():
        return False
    word = _LAST_WORD.search(text, max(0, end - _LAST_WORD_CHARS), end)
    if word is None:
        return True
    before = word.group(1).lower()
    if before in _ABBREVIATIONS:
        return False
    return not (len(before) == 1 and before.isalpha())  # an initial: J. Smith


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans that follow each other without gap from `start` to `end`; white space belongs to the sentence before it."""
    begin = start
    for match in _END.finditer(text, start, end):
        stop = match.end()
        if stop >= end:
            break
        if _NUMBERING.fullmatch(text, begin, stop):
            continue  # "1.4.7." belongs to the title that follows
        if match.group().startswith("\n") or match.group()[0] in "。！？" or _ends(text, stop, text[stop]):
            yield begin, stop
            begin = stop
    if begin < end:
        yield begin, end


def lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of lines that follow each other without gap."""
    begin = start
    while begin < end:
        stop = text.find("\n", begin, end)
        stop = end if stop < 0 else stop + 1
        yield begin, stop
        begin = stop
