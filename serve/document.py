"""The OpenAPI document: the routes' own words, and what every one of them shares."""

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from serve.openai_document import event_of, refusals_of, schemas_of
from serve.openai_views import OpenAIErrorEnvelope
from serve.views import ErrorEnvelope

if TYPE_CHECKING:
    from serve.routes import Line

VERSION = "0.1.0"
_FILE = {"type": "string", "format": "binary"}
_TEXT = {"type": "string"}
_EVENT = {"type": "object", "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT}, "required": ["data"]}
_BESIDE: dict[str, dict[str, Any]] = {  # fields of a form with a file
    "file": {},
    "document": {"title": _TEXT, "external_id": _TEXT, "password": _TEXT},
    "purpose": {"purpose": {"enum": ["assistants", "user_data"]}},
}
_ERRORS: dict[int, str] = {
    400: "The request cannot be done as it stands.",
    401: "No key, or none that is valid.",
    403: "The key's scope does not reach this.",
    404: "There is no such thing, or it is not yours.",
    409: "It conflicts with what is there.",
    413: "The body is too large.",
    422: "The request is not as expected.",
    429: "Too many requests for this key; see Retry-After.",
    500: "An engine failed, or something here did; the log says what.",
    503: "Busy, or a part is restarting; see Retry-After. The same Idempotency-Key makes another try harmless.",
    504: "A part did not answer in time; what was to be written may be. The same Idempotency-Key makes another try harmless.",
    507: "The disk is full or failed; nothing was kept.",
}
_THOUGHT = (  # a POST that keeps nothing
    "/api/search",
    "/api/ws-ticket",
    "/api/models/language/warm",
    "/api/channels/{channel_id}/test",
)
_PREFIXES = {
    "/v1": "openai",
    "/api/projects": "projects",
    "/api/documents": "documents",
    "/api/jobs": "jobs",
    "/api/runs": "runs",
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
    "description": "The same request again under the same key is done once and answered as the first time.",
    "example": "b1946ac9-2d0a-4f7b-9d5e-1f2c3a4b5d6e",
}
_NEEDED = ("Tus-Resumable", "Upload-Length", "Upload-Offset", "X-HTTP-Method-Override")
_HEADERS: dict[str, tuple[dict[str, Any], str]] = {  # schema and meaning; an answer says which are missing
    "Tus-Resumable": ({"type": "string", "enum": ["1.0.0"]}, "The version of tus that is spoken."),
    "Upload-Length": ({"type": "string", "pattern": "^[0-9]{1,18}$"}, "Bytes of the whole file."),
    "Upload-Metadata": (
        _TEXT,
        "Pairs of a name and UTF-8 in base64, with commas between: filename, title, external_id, filetype, sha256, kind.",
    ),
    "Upload-Offset": ({"type": "string", "pattern": "^[0-9]{1,18}$"}, "From where on these bytes go: where the upload stands."),
    "Upload-Checksum": (_TEXT, "`sha1`, `sha256` or `md5`, and the checksum of this request's bytes in base64."),
    "Perenne-Password": (
        _TEXT,
        "A password that opens the file, UTF-8 in base64; read with the last bytes, and put on no disk.",
    ),
    "X-HTTP-Method-Override": ({"type": "string", "enum": ["PATCH"]}, "The method that is meant."),
}


def _header(name: str) -> dict[str, Any]:
    schema, words = _HEADERS[name]
    return {"name": name, "in": "header", "required": name in _NEEDED, "schema": schema, "description": words}


def _tag(path: str) -> str:
    known = next((tag for prefix, tag in _PREFIXES.items() if path.startswith(prefix)), None)
    if known is None and path.startswith(("/api/conversations", "/api/messages")):
        return "conversations"
    return known or "house"


def _on_disk(line: "Line") -> bool:
    """Whether the answer hangs on the disk: it writes there, or gives a file or an upload from there."""
    if line.method in ("GET", "HEAD"):
        return line.kind == "*/*" or "/uploads" in line.path
    return line.method != "OPTIONS" and line.path not in _THOUGHT


def _refusals(line: "Line") -> dict[int, str]:
    """The statuses of a route's errors under `/api`, beside those that its line names."""
    left_out = {409} if line.method == "GET" else set[int]()
    if not _on_disk(line):
        left_out.add(507)
    return {status: words for status, words in _ERRORS.items() if status not in left_out}


def operation(line: "Line") -> dict[str, Any]:
    """What the document says of one route beyond its signature."""
    extra: dict[str, Any] = {}
    responses: dict[int | str, dict[str, Any]] = {}
    openai = line.path.startswith("/v1/")
    model: Any = OpenAIErrorEnvelope if openai else ErrorEnvelope
    if line.access != "open":
        told = refusals_of(line) if openai else _refusals(line)
        responses = {status: {"model": model, "description": words} for status, words in told.items()}
        extra["security"] = [{"key": []}]
        if line.method != "GET" and line.path.startswith("/api/"):
            extra["parameters"] = [_IDEMPOTENCY]
    if line.headers:
        extra["parameters"] = [*extra.get("parameters", ()), *map(_header, line.headers)]
    if line.method == "HEAD":
        responses = {status: {"description": told["description"]} for status, told in responses.items()}
    elif line.kind != "application/json":
        schema = _EVENT if line.kind == "text/event-stream" else _TEXT
        responses[200] = {"content": {line.kind: {"schema": schema}}, "description": line.route.__doc__}
    if line.pieces is not None:
        responses[200] = {"content": {"text/event-stream": {"schema": event_of(line)}}}
    for status, words in line.also:
        responses[status] = {"model": line.answer, "description": words}
    for status, words in line.refusals:
        responses[status] = {"description": words} if line.method == "HEAD" else {"model": model, "description": words}
    if line.body == "bytes":
        extra["requestBody"] = {"required": True, "content": {"application/offset+octet-stream": {"schema": _FILE}}}
    elif line.body is not None:
        fields = {"file": _FILE, **_BESIDE[line.body]}
        schema = {"type": "object", "properties": fields, "required": ["file", *(["purpose"] if openai else [])]}
        extra["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    not_json: dict[str, Any] = {"response_class": Response} if line.method == "HEAD" or line.kind != "application/json" else {}
    return {
        **not_json,
        "tags": [_tag(line.path)],
        "responses": responses,
        "openapi_extra": extra,
        "operation_id": f"{line.route.__module__.rpartition('.')[2]}_{line.route.__name__}",
        "summary": line.route.__name__.replace("_", " ").capitalize(),
    }


def whole(app: FastAPI, table: "tuple[Line, ...]") -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title="Perenne",
            version=VERSION,
            description="Your documents, asked. Every route but the probes needs a key: `Authorization: Bearer KEY`.",
            routes=app.routes,
        )
        for path, methods in schema["paths"].items():
            if path.startswith("/v1/"):
                for told in methods.values():
                    told["responses"].pop("422", None)  # FastAPI's own; see `serve.errors`
        components = schema.setdefault("components", {})
        components["schemas"] = components.get("schemas", {}) | schemas_of(table)
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = schema
    return app.openapi_schema
