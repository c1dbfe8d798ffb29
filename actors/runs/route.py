"""Which way a message is answered, decided from its words alone."""

import re
from typing import Literal

from actors.runs.words import words

Route = Literal["talk", "grounded", "bare"]

_TALK_WORDS_MAX = 6  # a longer message asks something
_TALK = frozenset(
    {
        *("hi", "hello", "hey", "hola", "buenas", "buenos", "saludos", "good", "morning", "afternoon", "evening", "night"),
        *("dias", "tardes", "noches", "thanks", "thank", "you", "thx", "gracias", "muchas", "mil", "very", "much", "a", "lot"),
        *("bye", "goodbye", "adios", "hasta", "luego", "see", "later", "ok", "okay", "vale", "great", "genial", "perfecto"),
        *(
            "perfect",
            "nice",
            "cool",
            "how",
            "are",
            "que",
            "tal",
            "como",
            "estas",
            "there",
            "perenne",
            "so",
            "por",
            "todo",
            "de",
        ),
        *("nada", "please", "yes", "si", "no"),
    }
)
_OPENERS = frozenset(
    {
        *(
            "hi",
            "hello",
            "hey",
            "hola",
            "buenas",
            "buenos",
            "saludos",
            "good",
            "thanks",
            "thank",
            "thx",
            "gracias",
            "muchas",
            "mil",
        ),
        *(
            "bye",
            "goodbye",
            "adios",
            "ok",
            "okay",
            "vale",
            "great",
            "genial",
            "perfecto",
            "perfect",
            "nice",
            "cool",
            "que",
            "how",
        ),
        *("see", "hasta"),
    }
)
_SELF = re.compile(
    r"^\W*(who|what) are you\W*$|^\W*what can you do\W*$|^\W*(quién|quien|qué|que) eres\W*$|^\W*(qué|que) (puedes|sabes) hacer\W*$",
    re.IGNORECASE,
)


def route_of(text: str, grounded: bool) -> Route:
    """`talk` for greetings, thanks and questions about itself; else `grounded` as the options say, or `bare`."""
    if not grounded:
        return "bare"
    said = words(text)
    if _SELF.match(text.strip()):
        return "talk"
    if said and len(said) <= _TALK_WORDS_MAX and said[0] in _OPENERS and all(word in _TALK for word in said):
        return "talk"
    return "grounded"
