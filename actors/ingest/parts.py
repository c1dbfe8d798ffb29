"""A document cut into parts of one transaction each."""

import hashlib
from collections.abc import Iterator, Sequence

from actors.ingest.pipeline import PART_CHUNKS
from perenne.messages.commands import IndexedDocument, NewChunk

PART_CHARS = 400_000  # characters of one transaction


def bounds(chunks: Sequence[NewChunk]) -> list[tuple[int, int]]:
    """(first, past last) chunk of each part: bounded by number and by characters, never empty."""
    found: list[tuple[int, int]] = []
    first = characters = 0
    for number, chunk in enumerate(chunks):
        size = len(chunk.text)
        if number > first and (number - first >= PART_CHUNKS or characters + size > PART_CHARS):
            found.append((first, number))
            first = number
            characters = 0
        characters += size
    found.append((first, len(chunks)))
    return found


def document_parts(
    document_id: str,
    title: str,
    text: str,
    chunks: Sequence[NewChunk],
    *,
    external_id: str | None = None,
    language: str | None = None,
    pages: int | None = None,
) -> Iterator[IndexedDocument]:
    """The document in order; the parts' texts joined are its text, and only the first and the last are marked so."""
    spans = bounds(chunks)
    begin = 0
    for number, (first, past) in enumerate(spans):
        last = number == len(spans) - 1
        end = len(text) if last else chunks[past - 1].end
        yield IndexedDocument(
            document_id=document_id,
            title=title,
            text=text[begin:end],
            chunks=tuple(chunks[first:past]),
            vectors=b"",
            external_id=external_id,
            language=language,
            pages=pages,
            first=number == 0,
            last=last,
        )
        begin = end


def fingerprint(text: str, chunks: Sequence[NewChunk]) -> str:
    """What a checkpoint must match to be gone on from: the text and how it was cut."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for chunk in chunks:
        digest.update(f"{chunk.start},{chunk.end};".encode())
    return digest.hexdigest()[:32]
