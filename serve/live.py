"""Streams that end when their reader leaves or the replica closes, and work that does."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from perenne.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """The work's result; cancelled, and ClientDisconnect raised, when the client leaves before."""
    task, gone = asyncio.ensure_future(work), asyncio.create_task(_gone(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        await _end(gone)
        await _end(task)


class EventStream(Response):
    """Server-sent events from a generator. The generator is closed, whatever it waits for, as soon as the client leaves, or
    `grace_s` after `closing` is set. An end before its own, by closing or by an error, is told in the words of `parting`: no
    stream ends without one. `on_leave` is called when the client left before the end."""

    def __init__(
        self,
        source: AsyncIterator[bytes],
        closing: asyncio.Event,
        parting: Callable[[BaseException], bytes],
        on_leave: Callable[[], None] | None = None,
        grace_s: float = 0.0,
    ) -> None:
        super().__init__(b"", 200, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, "text/event-stream")
        del self.headers["content-length"]
        self.background: BackgroundTask | None = None
        self._source, self._closing, self._parting, self._on_leave = source, closing, parting, on_leave
        self._grace_s = grace_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        pump = asyncio.create_task(self._pump(send))
        gone, closing = asyncio.create_task(_gone(receive)), asyncio.create_task(self._closed())
        try:
            await asyncio.wait({pump, gone, closing}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not pump.done():
                self._left()
                return
            if last := await self._last_words(pump):
                await send({"type": "http.response.body", "body": last, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (OSError, asyncio.CancelledError):
            self._left()
            raise
        finally:
            for task in (pump, gone, closing):
                await _end(task)

    async def _closed(self) -> None:
        await self._closing.wait()
        await asyncio.sleep(self._grace_s)

    async def _last_words(self, pump: "asyncio.Task[None]") -> bytes:
        if not pump.done():
            await _end(pump)
            return self._parting(Unavailable("this server", 0.5, "it is restarting"))
        error = pump.exception()
        if error is None:
            return b""
        if isinstance(error, OSError):
            raise error
        log.error("a stream failed", exc_info=error)
        return self._parting(error)

    def _left(self) -> None:
        if self._on_leave is not None:
            self._on_leave()

    async def _pump(self, send: Send) -> None:
        source: Any = self._source
        async with contextlib.aclosing(source):
            async for piece in source:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
