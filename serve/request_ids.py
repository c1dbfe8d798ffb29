"""Each request has an id: the caller's X-Request-ID when it is one, else drawn here. The answer names it, and so do the log lines of all that
works for it (`perenne.correlation`)."""

import logging
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perenne import correlation
from perenne.ids import new_id
from serve.door import ROUTE_ASKED

log = logging.getLogger(__name__)

HEADER = b"x-request-id"
SLOW_S = 1.0  # an answer that takes longer has its line, whatever it is
_FIT = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_KEY = re.compile(rb"(?i)(?:pk|sk|key|token|bearer)[-_:.]")  # what a key begins with: logs hold none
_BEGINS = frozenset(("http.response.start", "websocket.http.response.start", "websocket.accept"))
_READS = frozenset(("GET", "HEAD", "OPTIONS"))


def id_given(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The caller's own, if it is 1 to 128 letters, digits, dots, colons, hyphens and underscores and looks like no key."""
    for name, value in headers:
        if name == HEADER:
            return value.decode("ascii") if _FIT.fullmatch(value) and not _KEY.match(value) else None
    return None


class RequestIds:
    """The outermost layer but one: Starlette's answer to what nobody expected is outside, and has the header from `serve.errors`.

    Answers that only read, went well, were quick and whose caller sent no id have no line but at level debug."""

    def __init__(self, app: ASGIApp, *, in_headers: bool = True) -> None:
        self._app, self._in_headers = app, in_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = id_given(scope["headers"])
        request_id = given or new_id("req")
        correlation.work_for((request_id, None))
        began, status = time.perf_counter(), 0

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] in _BEGINS:
                status = message.get("status", 101)
                if self._in_headers:
                    message["headers"] = [*message.get("headers", ()), (HEADER, request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        except Exception:
            status = status or 500
            raise
        finally:
            method, seconds = scope.get("method", "WebSocket"), time.perf_counter() - began
            plain = method in _READS and 200 <= status < 400 and seconds < SLOW_S and given is None
            level = logging.DEBUG if plain else logging.INFO
            if log.isEnabledFor(level):
                log.log(level, "%s %s: %s in %.0f ms", method, _route(scope), status or "no answer", seconds * 1000)


def _route(scope: Scope) -> str:
    """As the table of routes has it, never as the caller wrote it: that may hold anything."""
    asked: list[str] = scope.get(ROUTE_ASKED) or ["none"]
    return asked[0]


def alone() -> None:
    """Serve's replicas answer each request with an id of Serve's own, beside ours, or with whatever came: from now on this one does not."""
    from ray.serve._private import http_util

    async def pass_on(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    serves: Any = http_util
    serves.RequestIdMiddleware.__call__ = pass_on
