"""What every request passes: how many at once, how large a body, and the headers that every answer carries. Plain ASGI."""

import asyncio
import contextlib
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perenne import metric_table as table
from perenne import metrics
from perenne.errors import Busy, InvalidRequest, PerenneError, TooLarge
from perenne.settings import EdgeSettings
from serve.errors import error_answer
from serve.vitals import Vitals

DRAIN_WITHIN_S = 1.0  # how long, and how much, a body that is too large is still taken before the answer
DRAIN_BYTES_MAX = 32 << 20
BODY_GRACE_S = 30.0  # how long a body may make us wait in all; and a second more for each BODY_BYTES_A_S of it
BODY_BYTES_A_S = 1024
MULTIPART_OVERHEAD_BYTES = 64 << 10  # boundaries, headers and fields beside the file of an upload

PAGE_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; frame-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_PAGE = (b"content-security-policy", PAGE_POLICY.encode())
_DATA = ((b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"), (b"cache-control", b"no-store"))


ROUTE_ASKED = "perenne.route"  # of the scope: a list, into which the guard of the route that was found puts its path
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def is_upload(path: str) -> bool:
    """Whether a path takes files, whose own, larger bound holds."""
    if not path.startswith("/api/projects/"):
        return path == "/v1/files"
    return path.endswith(("/documents", "/jsonl")) or path.rpartition("/")[0].endswith("/uploads")


def _length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


class Door:
    """The outermost layer. 503 over `ongoing_requests_max`, or `sockets_max` for WebSockets; 413 as soon as the body is seen to be
    too long, counted while it comes in, whatever Content-Length said; 400 when it comes letter by letter."""

    def __init__(self, app: ASGIApp, settings: EdgeSettings, vitals: Vitals) -> None:
        self._app, self._settings, self._vitals = app, settings, vitals
        self.ongoing = self.sockets = 0
        metrics.look(self._count_open)

    def _count_open(self) -> None:
        metrics.tell(table.REQUESTS_OPEN, self.ongoing)
        metrics.tell(table.SOCKETS_OPEN, self.sockets)

    def _count(self, asked: list[str], method: str, status: int, seconds: float) -> None:
        """An answer begins. A route is told as the table of routes has it, never as the caller wrote it."""
        route, method = asked[0] if asked else "none", method if method in _METHODS else "other"
        metrics.tell(table.REQUESTS, 1.0, route, method, str(status))
        metrics.tell(table.REQUEST_SECONDS, seconds, route)
        self._vitals.answered(method, route, status, seconds, time.monotonic())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        data = path.startswith(("/api/", "/v1/"))
        began = time.perf_counter()
        asked: list[str] = []
        scope[ROUTE_ASKED] = asked

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(asked, scope["method"], message["status"], time.perf_counter() - began)
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                headers.extend(pair for pair in (*_ALWAYS, *(_DATA if data else (_PAGE,))) if pair[0] not in present)
                message = {**message, "headers": headers}
            await send(message)

        if self.ongoing >= self._settings.ongoing_requests_max and data:
            await error_answer(path, Busy("the edge", 1.0))(scope, receive, framed)
            return
        self.ongoing += 1
        try:
            await self._bounded(scope, receive, framed)
        finally:
            self.ongoing -= 1

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.sockets >= self._settings.sockets_max:
            await refuse_socket(Busy(f"the edge holds {self.sockets} WebSockets and", 1.0), scope, receive, send)
            return
        self.sockets += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.sockets -= 1

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        limit = self._settings.body_bytes_max
        if is_upload(path):
            limit = self._settings.upload_bytes_max + MULTIPART_OVERHEAD_BYTES
        taken, waited_s, whole, refusal, answered = 0, 0.0, False, None, False

        async def counted() -> Message:
            nonlocal taken, waited_s, whole, refusal
            if whole:
                return await receive()
            began = time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, BODY_GRACE_S + taken / BODY_BYTES_A_S - waited_s)):
                    message = await receive()
            except TimeoutError:
                refusal = InvalidRequest(f"the body came more slowly than {BODY_BYTES_A_S} bytes a second")
                return {"type": "http.disconnect"}
            waited_s += time.monotonic() - began
            if message["type"] == "http.request":
                whole = not message.get("more_body")
                taken += len(message.get("body", b""))
                if taken > limit:
                    refusal = TooLarge("the body", taken, limit)
                    return {"type": "http.disconnect"}
            return message

        async def guarded(message: Message) -> None:
            nonlocal answered
            if refusal is None:
                await send(message)
            elif not answered:  # whatever the route made of the cut body: this is why
                answered = True
                await _refuse(path, refusal, scope, receive, send)

        if (length := _length(scope)) > limit:
            await _refuse(path, TooLarge("the body", length, limit), scope, receive, send)
            return
        try:
            await self._app(scope, counted, guarded)
        except Exception:
            if refusal is None:
                raise
        if refusal is not None and not answered:
            await _refuse(path, refusal, scope, receive, send)


async def refuse_socket(error: PerenneError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a WebSocket's opening with the error's own status; where the server knows only close, with that (a 403)."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await error_answer(scope["path"], error)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:100]})


async def _refuse(path: str, error: PerenneError, scope: Scope, receive: Receive, send: Send) -> None:
    """Say no, once the client had a moment to send on: a connection closed under its hands would lose it the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_WITHIN_S):
            passed = 0
            while passed < DRAIN_BYTES_MAX:
                message = await receive()
                passed += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    break
    answer: Any = error_answer(path, error)
    answer.headers["connection"] = "close"  # what is left of the body is not read
    await answer(scope, receive, send)
