"""JSON lines from a file, plain or gzipped, in batches of one transaction each; begun anew at any checkpoint."""

import gzip
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast

import orjson

from actors.ingest import language
from actors.ingest.formats.json_lines import Line, read_line
from actors.ingest.parsed import Refused
from actors.ingest.parts import PART_CHARS, document_parts
from actors.ingest.pipeline import PART_CHUNKS, Part
from actors.ingest.splitter import split_short
from perenne.messages.commands import IndexedDocument, NewChunk

PART_DOCUMENTS = 128  # documents of one transaction
LINE_BYTES_MAX = 16 << 20  # a longer line is a bad line
ERRORS_KEPT = 20
UNPACKED_MAX = 64  # times the packed size, and at least 1 GiB
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Place:
    """How far the file was read: `offset` of the next line, `part` of a long line's document that are stored already."""

    offset: int = 0
    line: int = 0
    added: int = 0
    skipped: int = 0
    part: int = 0
    errors: tuple[dict[str, Any], ...] = ()
    chunks: int = 0

    @staticmethod
    def load(text: str | None) -> "Place":
        try:
            row: Any = orjson.loads(text or "{}")
            errors = tuple({"line": int(e["line"]), "error": str(e["error"])} for e in row["errors"])
            offset, line, added, skipped, part = (int(row[name]) for name in ("offset", "line", "added", "skipped", "part"))
            return Place(offset, line, added, skipped, part, errors, int(row.get("chunks", 0)))
        except (ValueError, KeyError, TypeError):
            return Place()

    def dump(self) -> str:
        names = ("offset", "line", "added", "skipped", "part", "errors", "chunks")
        return orjson.dumps({name: getattr(self, name) for name in names}).decode()

    def result(self) -> dict[str, Any]:
        """What the job's owner is told."""
        return {"added": self.added, "skipped": self.skipped, "chunks": self.chunks, "errors": list(self.errors)}

    def good(self, parts: list[IndexedDocument]) -> "Place":
        """One line more that is a document."""
        return replace(self, added=self.added + 1, chunks=self.chunks + sum(len(part.chunks) for part in parts))

    def bad(self, why: str) -> "Place":
        """One line more that could not be used."""
        errors = self.errors
        if len(errors) < ERRORS_KEPT:
            errors = (*errors, {"line": self.line, "error": why})
        return replace(self, skipped=self.skipped + 1, errors=errors)


def document_id(project_id: str, external_id: str) -> str:
    """The same for the same line however often it is read."""
    return "doc_" + hashlib.sha256(f"{project_id}\0{external_id}".encode()).hexdigest()[:32]


def _chunks(text: str, target: int) -> tuple[list[NewChunk], str | None]:
    spans = split_short(text, target)
    whole, languages = language.of_all(text, [(span.start, span.end) for span in spans])
    chunks = [
        NewChunk(ordinal=number, text=text[span.start : span.end], start=span.start, end=span.end, language=spoken)
        for number, (span, spoken) in enumerate(zip(spans, languages, strict=True))
    ]
    return chunks, whole


@dataclass(slots=True)
class _Batch:
    documents: list[IndexedDocument] = field(default_factory=list[IndexedDocument])
    chunks: int = 0
    characters: int = 0

    def fits(self, parts: list[IndexedDocument]) -> bool:
        return (
            len(parts) == 1
            and len(self.documents) < PART_DOCUMENTS
            and self.chunks + len(parts[0].chunks) <= PART_CHUNKS
            and self.characters + len(parts[0].text) <= PART_CHARS
        )

    def add(self, document: IndexedDocument) -> None:
        self.documents.append(document)
        self.chunks += len(document.chunks)
        self.characters += len(document.text)


class LineReader:
    """Blocking; `batch` is called from a thread. Bad lines are counted and told, never fatal."""

    def __init__(self, path: Path, project_id: str, target: int, place: Place) -> None:
        self._project, self._target = project_id, target
        self.size = path.stat().st_size
        self._raw: IO[bytes] = path.open("rb")
        packed = self._raw.read(2) == b"\x1f\x8b"
        self._raw.seek(0)
        self._file: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw)) if packed else self._raw
        self._ceiling = max(UNPACKED_MAX * self.size, _GIB)
        self._file.seek(place.offset)
        self.place = place
        self._held: tuple[Line, Place] | None = None

    def close(self) -> None:
        """Harmless twice."""
        self._file.close()
        self._raw.close()

    def _line(self) -> bytes | None:
        """The next line without its end; None at the file's end. Moves `place` past it."""
        raw = self._file.readline(LINE_BYTES_MAX)
        if not raw:
            return None
        length = len(raw)
        whole = raw.endswith(b"\n") or length < LINE_BYTES_MAX
        if not whole:
            while piece := self._file.readline(LINE_BYTES_MAX):
                length += len(piece)
                if piece.endswith(b"\n"):
                    break
        if self.place.offset == 0:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        self.place = replace(self.place, offset=self.place.offset + length, line=self.place.line + 1)
        if self.place.offset > self._ceiling:
            raise Refused("too_large", f"it unpacks to more than {self._ceiling:,} bytes", {"limit_bytes": self._ceiling})
        if not whole:
            self.place = self.place.bad(f"longer than {LINE_BYTES_MAX:,} bytes")
            return b""
        return raw.strip()

    def _next(self) -> tuple[Line, Place] | None:
        """The next good line, with the place before it."""
        if self._held is not None:
            held, self._held = self._held, None
            self.place = replace(self.place, part=0)
            return held
        while True:
            before = self.place
            try:
                raw = self._line()
            except (EOFError, OSError) as error:
                if isinstance(error, gzip.BadGzipFile | EOFError):
                    raise Refused("damaged", f"it is a damaged gzip file ({error}), line {self.place.line + 1}") from error
                raise
            if raw is None:
                return None
            if not raw:
                continue
            try:
                return read_line(raw), before
            except ValueError as error:
                self.place = replace(self.place, part=0).bad(str(error)[:200])

    def _parts(self, line: Line) -> list[IndexedDocument]:
        chunks, whole = _chunks(line.text, self._target)
        identity = document_id(self._project, line.id)
        return list(document_parts(identity, line.title, line.text, chunks, external_id=line.id, language=whole))

    def _progress(self) -> int:
        return min(self._raw.tell(), self.size) if self._file is not self._raw else min(self.place.offset, self.size)

    def _part(self, documents: tuple[IndexedDocument, ...], place: Place) -> Part:
        return Part(documents, place.dump(), self._progress(), self.size)

    def batch(self) -> list[Part]:
        """The next transactions: one of many documents, or several of one long document. Empty at the end."""
        gathered = _Batch()
        end = self.place
        while (found := self._next()) is not None:
            line, before = found
            after = replace(self.place, part=0)
            parts = self._parts(line)
            if gathered.fits(parts):
                gathered.add(parts[0])
                end = self.place = after.good(parts)
                continue
            if gathered.documents:
                self._held = (line, before)
                return [self._part(tuple(gathered.documents), end)]
            return self._long(parts, before, after)
        return [self._part(tuple(gathered.documents), end)] if gathered.documents else []

    def _long(self, parts: list[IndexedDocument], before: Place, after: Place) -> list[Part]:
        self.place = after.good(parts)
        found: list[Part] = []
        for number in range(before.part, len(parts)):
            last = number == len(parts) - 1
            found.append(self._part((parts[number],), self.place if last else replace(before, part=number + 1)))
        return found
