"""Streams that end when their reader leaves or the replica closes, and work that does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

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
    """Server-sent events from a generator. The generator is closed, whatever it waits for, as soon as the client leaves or
    `closing` is set; then `parting` says a last word. `on_leave` is called when the client left before the end."""

    def __init__(
        self,
        source: AsyncIterator[bytes],
        closing: asyncio.Event,
        parting: Callable[[], bytes] = lambda: b"",
        on_leave: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(b"", 200, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, "text/event-stream")
        del self.headers["content-length"]
        self.background: BackgroundTask | None = None
        self._source, self._closing, self._parting, self._on_leave = source, closing, parting, on_leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        pump = asyncio.create_task(self._pump(send))
        gone, closing = asyncio.create_task(_gone(receive)), asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({pump, gone, closing}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
            elif gone.done():
                self._left()
            if not gone.done():
                if not pump.done():
                    await _end(pump)
                    await send({"type": "http.response.body", "body": self._parting(), "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (OSError, asyncio.CancelledError):
            self._left()
            raise
        finally:
            for task in (pump, gone, closing):
                await _end(task)

    def _left(self) -> None:
        if self._on_leave is not None:
            self._on_leave()

    async def _pump(self, send: Send) -> None:
        source: Any = self._source
        async with contextlib.aclosing(source):
            async for piece in source:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
