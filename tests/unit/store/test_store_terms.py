"""Stems: what full text holds of a word must never change without a migration that makes every passage's terms anew."""

from hypothesis import given
from hypothesis import strategies as st
from snowballstemmer.english_stemmer import EnglishStemmer
from snowballstemmer.spanish_stemmer import SpanishStemmer

from actors.store import terms

_ENDINGS = (
    "",
    "s",
    "es",
    "ies",
    "ed",
    "ing",
    "ingly",
    "ational",
    "fulness",
    "mente",
    "ando",
    "iéndose",
    "arlos",
    "áramos",
    "ería",
)
_BEGINNINGS = st.text("abcdefghijklmnopqrstuvwxyzáéíóúüñ", max_size=12) | st.text(max_size=12)
_WORDS = st.builds(lambda word, ending: word + ending, _BEGINNINGS, st.sampled_from(_ENDINGS))


@given(_WORDS)
def test_a_word_has_the_stem_that_the_algorithm_in_plain_python_gives_it(word: str) -> None:
    # Passages of before are stemmed by that; PyStemmer's C does it sixty times as fast.
    terms.stem_of.cache_clear()
    folded = terms.fold(word)
    spanish = terms.fold(SpanishStemmer().stemWord(word))
    assert terms.stem_of("en", word) == terms.fold(EnglishStemmer().stemWord(folded))[: terms.TOKEN_CHARS_MAX]
    assert terms.stem_of("es", word) == terms.fold(SpanishStemmer().stemWord(spanish))[: terms.TOKEN_CHARS_MAX]
