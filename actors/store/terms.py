"""Words as full text knows them: folded, stemmed for their language, the same for a passage and for a question.

Both English and Spanish stems of a question's word are looked for; a passage of either language holds that language's stems,
one of another or of no known language holds both. So a question finds passages in either, typed with accents or without.
"""

import re
import threading
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

TITLE_WEIGHT, BODY_WEIGHT = 1.5, 1.0  # what a term counts for in each
TOKEN_CHARS_MAX = 64
STEMS_KEPT = 200_000  # words whose stems are remembered: about 30 MB when full
_WORD = re.compile(r"[^\W_]+(?:['’ʼ][^\W_]+)*")
_APOSTROPHE = re.compile(r"['’ʼ]")
_SUFFIXES = frozenset({"s", "t", "re", "ve", "ll", "d", "m"})  # what English leaves behind an apostrophe
_CJK = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿가-힯]+")  # written without spaces: kept as pairs of signs
_LANGUAGES = {"en": "english", "es": "spanish"}
_BOTH = ("en", "es")
_stemmers = threading.local()  # a stemmer is a state machine: one a thread

_STOP_EN = """a about after all also an and any are as at be because been before being between both but by can could did do does doing
during each few for from further had has have having he her here him his how i if in into is it its itself just me more most my no nor
not of off on once only or other our out over own same she should so some such than that the their them then there these they this those
through to too under until up very was we were what when where which while who whom whose why will with would you your s t d ll m re ve"""
_STOP_ES = """a al algo algunas algunos ante antes como con contra cual cuales cuando cuanto cuantos cuantas de del desde donde durante e
el ella ellas ellos en entre era eran es esa esas ese eso esos esta estaba estado estan estas este esto estos fue fueron ha habia han
hasta hay la las le les lo los mas me mi mis mucho muy nada ni no nos nosotros o os otra otras otro otros para pero poco por porque que
quien quienes se sea ser si sin sobre son su sus tambien tanto te tiene tienen todo todos tu tus un una uno unos y ya yo"""
STOPWORDS = frozenset(_STOP_EN.split()) | frozenset(_STOP_ES.split())


def fold(text: str) -> str:
    """Compatibility forms united, case and diacritics gone: 'Ｃamión' and 'CAMION' become 'camion'."""
    if text.isascii():
        return text.lower()
    split = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", "".join(c for c in split if not unicodedata.combining(c)))


def _stem(language: str, word: str) -> str:
    import Stemmer

    stemmers: dict[str, Any] = _stemmers.__dict__
    if language not in stemmers:
        stemmers[language] = Stemmer.Stemmer(_LANGUAGES[language], 0)  # `stem_of` remembers
    return stemmers[language].stemWord(word)


@lru_cache(maxsize=STEMS_KEPT)
def stem_of(language: str, word: str) -> str:
    """The stem of one lower-case word, folded. Spanish endings are known by their accents, so they are cut before folding too."""
    return fold(_stem(language, fold(_stem(language, word)) if language == "es" else fold(word)))[:TOKEN_CHARS_MAX]


def words(text: str) -> Iterator[str]:
    """The words of a text in order, lower-case, accents kept."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    for match in _WORD.finditer(text.casefold()):
        word = match.group()
        for part in _APOSTROPHE.split(word):
            if part and (part not in _SUFFIXES or part == word):
                yield from _signs(part)


def _signs(word: str) -> Iterator[str]:
    """Runs of East Asian signs as overlapping pairs, other stretches as they are."""
    if word.isascii() or _CJK.search(word) is None:
        yield word
        return
    at = 0
    for run in _CJK.finditer(word):
        if run.start() > at:
            yield word[at : run.start()]
        signs = run.group()
        yield from (signs[i : i + 2] for i in range(max(1, len(signs) - 1)))
        at = run.end()
    if at < len(word):
        yield word[at:]


def passage_terms(text: str, language: str | None) -> str:
    """What full text keeps of a passage: its terms, parted by spaces."""
    known = (language or "").lower().replace("_", "-").split("-")[0]
    terms: list[str] = []
    if known in _LANGUAGES:
        terms = [stem_of(known, word) for word in words(text)]
    else:
        for word in words(text):
            terms.extend(dict.fromkeys(stem_of(each, word) for each in _BOTH))
    return " ".join(terms)


def question_terms(text: str) -> dict[str, tuple[str, ...]]:
    """A question's words, folded, each with the terms to look for, in order; words that carry no meaning are left out while
    others remain."""
    found: dict[str, tuple[str, ...]] = {}
    for word in words(text):
        folded = fold(word)
        forms = tuple(dict.fromkeys(term for each in _BOTH if (term := stem_of(each, word))))
        if folded and forms and folded not in found:
            found[folded] = forms
    meaningful = {word: forms for word, forms in found.items() if word not in STOPWORDS}
    return meaningful or found
