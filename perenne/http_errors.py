"""The server's error envelope as the error it was: `{"error": {"code", "message", …}}`."""

from typing import Any, cast

import httpx

from perenne import errors


class ServerError(errors.PerenneError):
    """The server answered with an error that this client has no name for."""

    code = "server_error"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message

    def __str__(self) -> str:
        return f"the server answered {self.status}: {self.message}"


class NotPerenne(errors.PerenneError):
    """Something else than Perenne answers at the address, or a Perenne that this client does not understand."""

    code = "not_perenne"

    def __init__(self, address: str, came: str) -> None:
        super().__init__(address, came)
        self.address, self.came = address, came

    def __str__(self) -> str:
        return f"expected Perenne at {self.address}, got {self.came}"


def address_of(response: httpx.Response) -> str:
    """Scheme, host and port that the response came from."""
    return str(response.request.url.copy_with(path="/", query=None)).rstrip("/")


def described(response: httpx.Response) -> str:
    """What came instead of an answer of ours."""
    return f"an answer {response.status_code} of type {response.headers.get('content-type') or 'unknown'}"


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("Retry-After", "1"))
    except ValueError:
        return 1.0


def _envelope(response: httpx.Response) -> dict[str, Any]:
    try:
        body: Any = response.json()
    except ValueError:
        return {}
    error: Any = cast("dict[str, Any]", body).get("error") if isinstance(body, dict) else None
    return cast("dict[str, Any]", error) if isinstance(error, dict) else {}


def error_of(response: httpx.Response) -> errors.PerenneError:
    """What an unsuccessful response means; 429 and 503 carry when to come again. Its `code` is the server's where that said one."""
    envelope = _envelope(response)
    if response.request.method == "HEAD":  # whose errors have no words
        return _error_of(response, envelope)
    if (
        not envelope and response.status_code < 500 and response.status_code not in (413, 429)
    ):  # those may be a proxy's before ours
        return NotPerenne(address_of(response), described(response))
    error = _error_of(response, envelope)
    if isinstance(code := envelope.get("code"), str):
        error.code = code
    return error


def _error_of(response: httpx.Response, envelope: dict[str, Any]) -> errors.PerenneError:
    message = str(envelope.get("message") or response.reason_phrase)
    field = envelope.get("field")
    status = response.status_code
    by_status: dict[int, errors.PerenneError] = {
        401: errors.Unauthorized(message),
        403: errors.Forbidden(str(envelope.get("needed") or message)),
        404: _Missing(message),
        409: errors.Conflict(message),
        460: errors.ChecksumMismatch(message),
        429: errors.RateLimited("the server", _retry_after(response)),
        502: errors.Unavailable("the server", 1.0, message),
        503: errors.Unavailable("the server", _retry_after(response), message),
        504: errors.Unavailable("the server", 1.0, message),
    }
    if status in by_status:
        return by_status[status]
    if status in (400, 413, 415, 422):
        return errors.InvalidRequest(message, field if isinstance(field, str) else None)
    return ServerError(status, message)


class _Missing(errors.NotFound):
    """A 404, in the server's words."""

    def __init__(self, message: str) -> None:
        errors.PerenneError.__init__(self, message)
        self.kind, self.id, self.message = "thing", "", message

    def __str__(self) -> str:
        return self.message
