"""JSON lines as one document, or as many: each line an object with `id`, `title` and `text`."""

from dataclasses import dataclass
from typing import Any

import orjson

from actors.ingest.formats.text import add_plain, decode
from actors.ingest.parsed import Parsed, Refused, clean, squeeze
from actors.ingest.source import Source

ID_CHARS_MAX = 512
TITLE_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One good line."""

    id: str
    title: str
    text: str


def read_line(raw: bytes) -> Line:
    """A line as a document; ValueError says what is wrong with it. `_id`, as retrieval collections write it, is taken for `id`."""
    try:
        row: Any = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, got {type(row).__name__}")
    identity, title, text = row.get("id", row.get("_id")), row.get("title"), row.get("text")
    if isinstance(identity, bool) or not isinstance(identity, str | int) or not str(identity).strip():
        raise ValueError("'id' is missing: expected a string or a whole number")
    identity = clean(str(identity))
    if len(identity) > ID_CHARS_MAX:
        raise ValueError(f"'id' is {len(identity)} characters long; the limit is {ID_CHARS_MAX}")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("'text' is missing or empty")
    if title is not None and not isinstance(title, str):
        raise ValueError(f"'title' must be a string, got {type(title).__name__}")
    text = clean(text)
    if not text.strip():
        raise ValueError("'text' is missing or empty")
    return Line(identity, squeeze(clean(title or ""))[:TITLE_CHARS_MAX] or identity, text)


def parse(source: Source) -> Parsed:
    """The whole file as one document, a section a line; without one good line it is plain text."""
    content = source.read()
    builder = source.builder()
    for raw in content.splitlines():
        try:
            line = read_line(raw)
        except ValueError:
            continue
        builder.heading(line.title, 1)
        add_plain(builder, line.text)
    if builder.characters == 0:
        if not content.strip():
            raise Refused("empty", "it is empty")
        add_plain(builder, decode(content))
    return builder.build("application/jsonl")
