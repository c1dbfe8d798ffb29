"""Files that come in: multipart, parsed as it arrives and handed on in pieces; nothing is spooled here."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request
from starlette.responses import Response

from perenne.errors import InvalidRequest
from perenne.messages.commands import AddDocument, AddJsonLines
from serve.answers import json_answer
from serve.asking import Writing
from serve.blobs import BlobUpload
from serve.views import added_view, job_view

_FIELD_BYTES_MAX = 8 << 10
_FIELDS = frozenset({"title", "external_id", "password"})
_NAME_CHARS_MAX = 255


@dataclass(slots=True)
class Part:
    """One part of a multipart body; `filename` is None for a plain field."""

    name: str = ""
    filename: str | None = None
    content_type: str | None = None


Piece = tuple[Part, bytes]


class PartReader:
    """Collects what the parser calls out: each piece of data with the part that it belongs to."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequest("expected multipart/form-data with a part named 'file'", "Content-Type")
        self.pieces: list[Piece] = []
        self._part = Part()
        self._header, self._value = b"", b""
        self._whole = False  # its last boundary was seen
        calls: dict[str, Callable[..., Any]] = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._opened,
            "on_part_data": self._data,
            "on_end": self._ended,
        }
        self._parser = MultipartParser(boundary, calls)  # pyright: ignore[reportArgumentType] - its own TypedDict

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that these bytes complete."""
        self.pieces = []
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidRequest(f"the multipart body is broken: {error}") from error
        return self.pieces

    def close(self) -> None:
        """InvalidRequest when the body broke off before its end: what was sent is a part of a file, and no file."""
        if not self._whole:
            raise InvalidRequest("the multipart body ends before its last boundary", "file")

    def _ended(self) -> None:
        self._whole = True

    def _begin(self) -> None:
        self._part = Part()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        header, value, self._header, self._value = self._header.lower(), self._value, b"", b""
        if header == b"content-type":
            self._part.content_type = value.decode("latin-1")[:200]
        elif header == b"content-disposition":
            _, options = parse_options_header(value)
            self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                self._part.filename = safe_name(options[b"filename"].decode("utf-8", "replace"))

    def _opened(self) -> None:
        self.pieces.append((self._part, b""))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.pieces.append((self._part, data[start:end]))


def safe_name(name: str) -> str:
    """The last part of a path of any system, without control characters."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return "".join(c for c in last if c.isprintable())[-_NAME_CHARS_MAX:] or "file"


@dataclass(slots=True)
class Received:
    """A file that is on disk now, and the fields that came with it."""

    blob_hash: str
    size: int
    filename: str
    content_type: str | None
    fields: dict[str, str] = field(default_factory=dict[str, str])


async def _pieces(request: Request) -> AsyncIterator[Piece]:
    reader = PartReader(request.headers.get("content-type", ""))
    async for data in request.stream():
        for piece in reader.feed(data):
            yield piece
    reader.close()


async def receive_file(request: Request, ask: Writing, known: frozenset[str] = _FIELDS) -> Received:
    """Read the whole body. Once this returns the file is on disk; when it raises, what was sent is given up."""
    upload = BlobUpload(ask.edge, ask.edge.settings.edge.upload_bytes_max)
    file: Part | None = None
    raw: dict[str, bytes] = {}
    try:
        async for part, data in _pieces(request):
            if part.filename is None and part.name in known:
                raw[part.name] = raw.get(part.name, b"") + data
                if len(raw[part.name]) > _FIELD_BYTES_MAX:
                    raise InvalidRequest(f"the field is longer than {_FIELD_BYTES_MAX} bytes", part.name)
            elif part.name == "file" and part.filename is not None:
                if file is not None and part is not file:
                    raise InvalidRequest("expected one file a request", "file")
                file = part
                await upload.add(data)
        if file is None:
            raise InvalidRequest("expected a part named 'file' with a filename", "file")
        blob_hash, size = await upload.commit()
    except BaseException:
        upload.abandon()
        raise
    fields = {name: _text(name, value) for name, value in raw.items()}
    return Received(blob_hash, size, file.filename or "file", file.content_type, fields)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("the field is not UTF-8", name) from error


def media_type_of(content_type: str | None) -> str | None:
    kind = (content_type or "").partition(";")[0].strip().lower()
    return None if kind in ("", "application/octet-stream") else kind


async def add_document(ask: Writing, project: str, request: Request) -> Response:
    """Send a file. Once answered, file and job are on disk; indexing goes on behind (see its job)."""
    found = await ask.caller.project(ask.store, project)
    file = await receive_file(request, ask)
    job_id = ask.id("job")
    if file.fields.get("password"):
        await ask.edge.keep_password(job_id, file.fields["password"])
    command = AddDocument(
        command_id=ask.command_id,
        user_id=ask.user_id,
        document_id=ask.id("doc"),
        job_id=job_id,
        project_id=found.id,
        title=file.fields.get("title") or file.filename,
        blob_hash=file.blob_hash,
        size_bytes=file.size,
        filename=file.filename,
        media_type=media_type_of(file.content_type),
        external_id=file.fields.get("external_id") or None,
    )
    added = await ask.store.write(command)
    ask.edge.wake_ingest()
    return json_answer(added_view(added), 200 if added.existing else 202)


async def add_json_lines(ask: Writing, project: str, request: Request) -> Response:
    """Send JSON lines (`id`, `title`, `text`) as one job; each line becomes a document with that external id."""
    found = await ask.caller.project(ask.store, project)
    file = await receive_file(request, ask)
    command = AddJsonLines(
        command_id=ask.command_id,
        user_id=ask.user_id,
        job_id=ask.id("job"),
        project_id=found.id,
        blob_hash=file.blob_hash,
        size_bytes=file.size,
        filename=file.filename,
    )
    job = await ask.store.write(command)
    ask.edge.wake_ingest()
    return json_answer(job_view(job), 202)
