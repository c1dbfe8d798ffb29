"""Uploads that resume: tus 1.0 (https://tus.io/protocols/resumable-upload), core with creation, termination, expiration and
checksum. A file that has come whole becomes the same document and job as one sent at once (`uploads`)."""

import base64
import functools
import math
import re
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from perenne.errors import InvalidRequest, NotFound, PerenneError, TooLarge
from perenne.messages.commands import DocumentAdded
from perenne.messages.records import Job, JobKind, Page
from perenne.messages.uploads import Upload, command_of
from serve.answers import json_answer
from serve.asking import Reading, Writing
from serve.blobs import ask_owner
from serve.errors import error_answer
from serve.resuming import ALGORITHMS, Checksum, Taking
from serve.uploads import media_type_of, safe_name
from serve.views import UploadView, added_view, job_view

VERSION = "1.0.0"
EXTENSIONS = "creation,termination,expiration,checksum"
PASSWORD = "Perenne-Password"  # noqa: S105 - the name of a header: base64 of a file's password, which is put on no disk
_BYTES = "application/offset+octet-stream"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TEXT_CHARS_MAX = 2_000
_SHOWN = (
    "id",
    "project_id",
    "length",
    "offset",
    "filename",
    "title",
    "external_id",
    "sha256",
    "created_at",
    "expires_at",
    "kind",
)

Route = Callable[..., Awaitable[Response]]


def _tus(route: Route) -> Route:
    """The route for clients that speak tus 1.0.0, with the header that each of its answers carries, refusals too."""

    @functools.wraps(route)
    async def answered(ask: Writing, request: Request, **given: Any) -> Response:
        if request.headers.get("tus-resumable") != VERSION:
            told = {"Tus-Version": VERSION, "Tus-Resumable": VERSION}
            raise HTTPException(412, f"expected the header Tus-Resumable: {VERSION}", told)
        try:
            answer = await route(ask=ask, request=request, **given)
        except PerenneError as error:
            answer = error_answer(request.url.path, error)
        answer.headers["Tus-Resumable"] = VERSION
        return answer

    return answered


def _number(request: Request, name: str) -> int:
    given = request.headers.get(name, "")
    if not re.fullmatch(r"\d{1,18}", given, re.ASCII):
        raise InvalidRequest(f"expected {name}: a number of bytes, got {given[:40]!r}", name)
    return int(given)


def metadata_of(header: str) -> dict[str, str]:
    """`name base64,name base64` as tus has it. InvalidRequest for what is not."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode("utf-8")
        except ValueError as error:
            raise InvalidRequest(f"expected {name[:40]!r} with UTF-8 in base64", "Upload-Metadata") from error
        if len(found[name]) > _TEXT_CHARS_MAX:
            raise InvalidRequest(f"{name[:40]!r} is longer than {_TEXT_CHARS_MAX} characters", "Upload-Metadata")
    if "password" in found:  # it would be kept on disk as long as the upload
        raise InvalidRequest(f"a password is not metadata: send it as the header {PASSWORD}, in base64", "Upload-Metadata")
    if "sha256" in found and not _SHA256.fullmatch(found["sha256"]):
        raise InvalidRequest("sha256: expected 64 hexadecimal digits", "Upload-Metadata")
    return found


def _kind(metadata: dict[str, str]) -> JobKind:
    kind = metadata.get("kind") or "document"
    if kind not in ("document", "jsonl"):
        raise InvalidRequest(f"kind: expected document or jsonl, got {kind[:40]!r}", "Upload-Metadata")
    if kind == "jsonl" and metadata.get("external_id"):
        raise InvalidRequest("external_id: each line of jsonl has its own, as its id", "Upload-Metadata")
    return kind


def _headers(upload: Upload | UploadView) -> dict[str, str]:
    whole = upload.offset == upload.length
    expires = {} if whole else {"Upload-Expires": formatdate(math.floor(upload.expires_at), usegmt=True)}
    return {"Upload-Offset": str(upload.offset), "Cache-Control": "no-store", **expires}


async def _of(ask: Writing, project: str, upload_id: str) -> Upload:
    """The caller's upload, which was begun in this project."""
    found = await ask.caller.project(ask.store, project)
    upload: Upload = await ask_owner(ask.edge, "upload", upload_id=upload_id, user_id=ask.user_id)
    if upload.project_id != found.id:
        raise NotFound("upload", upload_id)
    return upload


async def _added(ask: Writing, request: Request, upload: Upload) -> UploadView:
    """The upload; whole, with the document or the job that it becomes, of which there is only ever one."""
    if upload.offset != upload.length:
        return _view(upload)
    password = _password(request)
    if upload.blob_hash is None:
        upload = await ask_owner(ask.edge, "finish_upload", upload_id=upload.id)
    if password:
        await ask.edge.keep_password(upload.job_id, password)
    became: DocumentAdded | Job = await ask.store.write(command_of(upload))
    ask.edge.wake_ingest()
    return _view(upload, became)


def _password(request: Request) -> str | None:
    try:
        return base64.b64decode(request.headers.get(PASSWORD, ""), validate=True).decode("utf-8") or None
    except ValueError as error:
        raise InvalidRequest("expected UTF-8 in base64", PASSWORD) from error


def _view(upload: Upload, became: DocumentAdded | Job | None = None) -> UploadView:
    given = {name: getattr(upload, name) for name in _SHOWN}
    if isinstance(became, DocumentAdded):
        return UploadView(**given, added=added_view(became))
    return UploadView(**given, job=None if became is None else job_view(became))


async def upload_options(ask: Writing, project: str) -> Response:
    """What of tus is spoken here."""
    await ask.caller.project(ask.store, project)
    headers = {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(ask.edge.settings.edge.upload_bytes_max),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    return Response(status_code=204, headers=headers)


@_tus
async def create_upload(ask: Writing, project: str, request: Request) -> Response:
    """Begin to send a file in pieces (tus): `Upload-Length`, and in `Upload-Metadata` its `filename`, and `title`, `external_id`,
    `filetype` or `sha256` where there are; `kind` is `jsonl` where each line is to become a document."""
    found = await ask.caller.project(ask.store, project)
    length, metadata = _number(request, "Upload-Length"), metadata_of(request.headers.get("upload-metadata", ""))
    filename = safe_name(metadata.get("filename") or metadata.get("name") or "file")
    upload = Upload(
        id=ask.id("upl"),
        user_id=ask.user_id,
        project_id=found.id,
        length=length,
        filename=filename,
        title=metadata.get("title") or filename,
        created_at=time.time(),
        media_type=media_type_of(metadata.get("filetype") or metadata.get("type")),
        external_id=metadata.get("external_id") or None,
        sha256=metadata.get("sha256"),
        kind=_kind(metadata),
    )
    begun = await _added(ask, request, await ask_owner(ask.edge, "create_upload", upload=upload))
    where = f"/api/projects/{quote(found.id, safe='')}/uploads/{upload.id}"
    return json_answer(begun, 201, {**_headers(begun), "Location": where})


async def list_uploads(ask: Reading, project: str) -> Response:
    """Your uploads to this project that are unfinished: go on with one, or drop it."""
    found = await ask.caller.project(ask.store, project)
    uploads: tuple[Upload, ...] = await ask_owner(ask.edge, "uploads", user_id=ask.user_id)
    return json_answer(Page(items=tuple(_view(upload) for upload in uploads if upload.project_id == found.id), next=None))


async def get_upload(ask: Writing, project: str, upload_id: str, request: Request) -> Response:
    """An upload; once it is whole, with the document or job that it became."""
    return json_answer(await _added(ask, request, await _of(ask, project, upload_id)))


@_tus
async def upload_offset(ask: Writing, project: str, upload_id: str, request: Request) -> Response:
    """From where to go on: so many bytes are on disk (tus)."""
    upload = await _added(ask, request, await _of(ask, project, upload_id))
    return Response(status_code=204, headers={**_headers(upload), "Upload-Length": str(upload.length)})


@_tus
async def append_to_upload(ask: Writing, project: str, upload_id: str, request: Request) -> Response:
    """Send the bytes from `Upload-Offset` on (tus). Once answered they are on disk; after the last one the document is added."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _BYTES:
        raise HTTPException(415, f"expected Content-Type: {_BYTES}", {"Tus-Resumable": VERSION})
    upload, offset = await _of(ask, project, upload_id), _number(request, "Upload-Offset")
    checksum = Checksum(given) if (given := request.headers.get("upload-checksum")) else None
    coming = request.headers.get("content-length", "")
    if coming.isdigit() and offset + int(coming) > upload.length:
        raise TooLarge("the file", offset + int(coming), upload.length)
    if upload.blob_hash is None or offset != upload.length:
        upload = await Taking(ask.edge, upload, checksum).take(request, offset)
    return Response(status_code=204, headers=_headers(await _added(ask, request, upload)))


@_tus
async def drop_upload(ask: Writing, project: str, upload_id: str, request: Request) -> Response:
    """Give an upload up (tus). A document that it became stays."""
    upload = await _of(ask, project, upload_id)
    await ask_owner(ask.edge, "drop_upload", upload_id=upload.id)
    return Response(status_code=204)


async def append_by_post(ask: Writing, project: str, upload_id: str, request: Request) -> Response:
    """PATCH for clients that can only POST, who say so in `X-HTTP-Method-Override` (tus)."""
    if (method := request.headers.get("x-http-method-override", "")) != "PATCH":
        raise InvalidRequest(f"expected PATCH, got {method[:20]!r}", "X-HTTP-Method-Override")
    return await append_to_upload(ask=ask, project=project, upload_id=upload_id, request=request)
