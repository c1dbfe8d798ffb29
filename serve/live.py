"""Streams that end when their reader leaves, its key ends or the replica closes, and work that does."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from perenne.errors import PerenneError, Unauthorized, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
KeyEnded = Callable[[], Coroutine[Any, Any, Unauthorized]]  # returns once the reader's key is good no more


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def while_welcome(request: Request, key_ended: KeyEnded, work: Awaitable[T]) -> T:
    """The work's result. Cancelled when the client leaves before (ClientDisconnect) or its key ends (Unauthorized)."""
    task, gone = asyncio.ensure_future(work), asyncio.create_task(_gone(request.receive))
    ended = asyncio.create_task(key_ended())
    try:
        await asyncio.wait({task, gone, ended}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise ended.result()
    finally:
        for each in (gone, ended, task):
            await _end(each)


class EventStream(Response):
    """Server-sent events from a generator. The generator is closed, whatever it waits for, as soon as the client leaves or its
    key ends, or `grace_s` after `closing` is set. An end before its own, by closing, by the key or by an error, is told in the
    words of `parting`: no stream ends without one. `on_leave` is called when nobody may or will read the rest."""

    def __init__(
        self,
        source: AsyncIterator[bytes],
        closing: asyncio.Event,
        key_ended: KeyEnded,
        parting: Callable[[BaseException], bytes],
        on_leave: Callable[[], None] | None = None,
        grace_s: float = 0.0,
    ) -> None:
        super().__init__(b"", 200, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, "text/event-stream")
        del self.headers["content-length"]
        self.background: BackgroundTask | None = None
        self._source, self._closing, self._key_ended = source, closing, key_ended
        self._parting, self._on_leave, self._grace_s = parting, on_leave, grace_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        pump = asyncio.create_task(self._pump(send))
        gone = asyncio.create_task(_gone(receive))
        cuts = [asyncio.create_task(self._key_ended()), asyncio.create_task(self._closed())]
        try:
            await asyncio.wait({pump, gone, *cuts}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not pump.done():
                self._left()
                return
            if last := await self._last_words(pump, cuts):
                await send({"type": "http.response.body", "body": last, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (OSError, asyncio.CancelledError):
            self._left()
            raise
        finally:
            for task in (pump, gone, *cuts):
                await _end(task)

    async def _closed(self) -> PerenneError:
        await self._closing.wait()
        await asyncio.sleep(self._grace_s)
        return Unavailable("this server", 0.5, "it is restarting")

    async def _last_words(self, pump: "asyncio.Task[None]", cuts: "list[asyncio.Task[Any]]") -> bytes:
        if not pump.done():
            await _end(pump)
            why: PerenneError = next(cut for cut in cuts if cut.done()).result()
            if isinstance(why, Unauthorized):
                self._left()
            return self._parting(why)
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
