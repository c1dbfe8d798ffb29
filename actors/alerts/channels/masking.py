"""Secrets out of words that are logged, kept or shown."""

import contextlib
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

_MASK = "***"
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s'\"<>)\]]+", re.IGNORECASE)
_PART_CHARS_MIN = 4  # a shorter part of an address is no secret, and would take words apart
_PLAIN = re.compile(r"\d{1,5}|(\d{1,3}\.){3}\d{1,3}")  # a port, an address: said to whoever is to allow it
_WITH_HOST = frozenset({"http", "https", "mailto", "mailtos", "json", "jsons", "xml", "xmls", "form", "forms"})


def _parts_of(url: str) -> set[str]:
    """What of an address may be a secret: user, password, each step of its path and each value of its query. Of one whose first part
    is a host the host is none; of others it is a token as often."""
    scheme, _, rest = url.partition("://")
    parts = set(re.split(r"[/?&=@:,]", rest))
    if scheme.lower() in _WITH_HOST:
        with contextlib.suppress(ValueError):
            parts.discard(urlsplit(f"http://{rest}").hostname or "")
    parts |= {unquote(each) for each in parts}
    return {each for each in parts if len(each) >= _PART_CHARS_MIN and not _PLAIN.fullmatch(each)}


def masked(words: str, url: str, secrets: Iterable[str] = ()) -> str:
    """Others' words without the address, any part of it that may be a secret, any other address beyond its scheme, and the secrets."""
    words = _ADDRESS.sub(lambda found: f"{found[1]}{_MASK}", words.replace(url, _MASK))
    for each in sorted({*_parts_of(url), *(each for each in secrets if each)}, key=len, reverse=True):
        words = re.sub(rf"(?<![A-Za-z0-9]){re.escape(each)}(?![A-Za-z0-9])", _MASK, words)
    return words
