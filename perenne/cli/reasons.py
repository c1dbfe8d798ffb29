"""Why a file or a job is where it is, in words for the terminal: what is wrong, and what to type or do about it."""

from collections import defaultdict
from typing import Any

from perenne.messages.records import Details, Document, Job, ReasonCode

_WORDS: dict[ReasonCode, str] = {
    "password_needed": "it needs a password: perenne jobs retry --password JOB, or perenne add --password FILE",
    "password_wrong": "the password does not open it: try another",
    "encrypted": "it is encrypted in a way that is not opened here: save it without a password",
    "unsupported": "files of this kind are not read: save it as PDF, Word, HTML or text",
    "damaged": "it is damaged: save it anew in the program that made it",
    "nested_too_deeply": "its parts are nested too deeply",
    "archive_bomb": "it unpacks to far more than an honest file would",
    "empty": "there is no text in it",
    "only_pictures": "there are only pictures in it: a scan needs text recognition first",
    "no_documents": "none of its {lines} lines holds a document with id and text",
    "too_large": "it is over the limit of {limit_bytes} bytes (ingest.file_bytes_max)",
    "too_much_text": "its text is over the limit of {limit_chars} characters (ingest.text_chars_max)",
    "too_many_pages": "it has {count} pages, slides or sheets; the limit is {limit} (ingest.pages_max)",
    "too_slow": "reading it takes more than {limit_s} s",
    "too_much_memory": "reading it takes more than {limit_bytes} bytes of memory (ingest.memory_bytes_max)",
    "file_missing": "its bytes are gone: add it again",
    "replaced": "another file took its place",
    "deleted": "its document or project was deleted",
    "cancelled": "cancelled: perenne jobs retry adds it after all",
    "internal": "something failed here, the log of the ingest host says what: perenne jobs retry tries again",
}


def reason_words(told: Document | Job) -> str:
    """Empty where there is nothing to say. A reason without a code (of an outage, or of a newer server) in the server's sentence."""
    words = None if told.code is None else _WORDS.get(told.code)
    return (told.reason or "") if words is None else words.format_map(_shown(told.details))


def _shown(details: Details) -> dict[str, Any]:
    shown = {name: f"{value:,}" if isinstance(value, int | float) else value for name, value in details.items()}
    return defaultdict(lambda: "?", shown)
