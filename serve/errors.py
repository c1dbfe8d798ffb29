"""The one table from error to HTTP status, and the envelopes: OpenAI's on `/v1`, ours elsewhere."""

import logging
import math
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from perenne import correlation, errors
from serve.answers import json_answer

log = logging.getLogger(__name__)

# The nearest class of an error's own line of descent counts.
STATUS: dict[type[Exception], int] = {
    errors.InvalidRequest: 400,
    errors.WrongPassphrase: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.ChecksumMismatch: 460,  # tus
    errors.RateLimited: 429,
    errors.Busy: 503,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.StorageFailed: 507,
    errors.EngineFailed: 500,
    errors.ConfigurationError: 500,
    errors.PerenneError: 500,
}

_ROUTE_ASKED = "perenne.route"  # `serve.door.ROUTE_ASKED`; that module imports this one
_OPENAI_TYPE = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_CODES = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 422: "invalid_request"}


def status_of(error: BaseException) -> int:
    """The HTTP status of an error."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def described(error: BaseException) -> dict[str, Any]:
    """What a client is told of an error: never more than its own words, and nothing of an unexpected one."""
    if not isinstance(error, errors.PerenneError):
        return {"code": "internal", "message": "something went wrong here; the log says what"}
    body: dict[str, Any] = {"code": error.code, "message": str(error)}
    for name in ("field", "needed", "limit", "progress", "state"):
        value = getattr(error, name, None)
        if value is not None:
            body[name] = value
    if (wait := getattr(error, "retry_after_s", None)) is not None:
        body["retry_after_s"] = wait
    return body


def envelope(path: str, status: int, body: dict[str, Any]) -> dict[str, Any]:
    """An error's body as the route's callers expect it."""
    if not path.startswith("/v1/"):
        return {"error": body}
    kind = _OPENAI_TYPE.get(status, "server_error")
    return {"error": {"message": body["message"], "type": kind, "param": body.get("field"), "code": body["code"]}}


def error_answer(path: str, error: BaseException) -> Response:
    """An error as a response."""
    status, body = status_of(error), described(error)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(body.get("retry_after_s", 1.0))))
    return json_answer(envelope(path, status, body), status, headers)


async def _ours(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # nobody is there to read it
    return error_answer(request.url.path, error)


async def _unexpected(request: Request, error: Exception) -> Response:
    # Never the path itself: it may hold whatever its caller likes.
    asked: list[str] = request.scope.get(_ROUTE_ASKED) or ["none"]
    log.error("%s %s failed", request.method, asked[0], exc_info=error)
    answer = error_answer(request.url.path, error)
    if (request_id := correlation.request_id()) is not None:  # this answer passes no layer of ours
        answer.headers["X-Request-ID"] = request_id
    return answer


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = {"code": _CODES.get(error.status_code, "http_error"), "message": str(error.detail)}
    return json_answer(envelope(request.url.path, error.status_code, body), error.status_code, dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    """A body or parameter of the wrong shape: each wrong field and why, never what came (it may not even be text)."""
    assert isinstance(error, RequestValidationError)
    wrong = [(".".join(str(part) for part in e["loc"][1:]), e["msg"]) for e in error.errors()]
    words = "; ".join(f"{field}: {why}" if field else why for field, why in wrong[:10])
    body: dict[str, Any] = {"code": "invalid_request", "message": words or "the request is not as expected"}
    if wrong and wrong[0][0]:
        body["field"] = wrong[0][0]
    status = 400 if request.url.path.startswith("/v1/") else 422
    return json_answer(envelope(request.url.path, status, body), status)


def add_error_handlers(app: FastAPI) -> None:
    """Every error that a route raises is answered by this module."""
    app.add_exception_handler(errors.PerenneError, _ours)
    app.add_exception_handler(ClientDisconnect, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)
