"""What goes out on one socket: at once while its connection takes it; what has to wait is bounded in number and in bytes."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.websockets import WebSocketDisconnect

log = logging.getLogger(__name__)

_GONE = (RuntimeError, WebSocketDisconnect, OSError)  # what sending on a closed connection raises


@dataclass(frozen=True, slots=True)
class Item:
    """One message as it goes out, encoded once for all who get it. `text` None: it has a number, and is for nobody here."""

    text: str | None
    seq: int = 0
    ends: bool = False  # nothing comes after it


class Sender(Protocol):
    """Who put an item there."""

    def went_out(self, item: Item) -> None:
        """It was written to the connection."""
        ...


class _Begun:
    """The rest of a coroutine that was begun by hand and waits for something."""

    def __init__(self, work: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._work, self._waits_for = work, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        yield self._waits_for
        yield from self._work.__await__()


class Outbox:
    """A queue before `send`, which writes one message. A single message may be larger than `bytes_max`, if nothing else waits.

    While nothing waits, a message is written by whoever offers it: to wake a task for it, on each of a thousand sockets, would
    cost about as much as writing it."""

    def __init__(self, send: Callable[[Item], Coroutine[Any, Any, None]], messages_max: int, bytes_max: int) -> None:
        self._send, self._messages_max, self._bytes_max = send, messages_max, bytes_max
        self._waiting: deque[tuple[Item, Sender | None]] = deque()
        self._bytes = 0
        self._went = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self.sending_since: float | None = None  # a message that the connection has not taken yet; of the monotonic clock
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # done: nothing goes out any more

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, item: Item, sender: Sender | None = None) -> bool:
        """Send or queue it; False, and nothing is queued, when there is no room. Whatever is offered at the end is dropped."""
        if self.over.done():
            return True
        if self._sending is None:
            self._begin(item, sender)
            return True
        size = len(item.text or "")
        if self._waiting and (len(self._waiting) >= self._messages_max or self._bytes + size > self._bytes_max):
            return False
        self._waiting.append((item, sender))
        self._bytes += size
        return True

    async def put(self, item: Item, sender: Sender | None = None) -> None:
        """Send or queue it as soon as there is room."""
        while not self.offer(item, sender):
            self._went.clear()
            await self._went.wait()

    def _begin(self, item: Item, sender: Sender | None) -> None:
        """Write it as far as that goes without waiting; a task does the rest, and what is queued by then."""
        work = self._send(item)
        try:
            waits_for = work.send(None)
        except StopIteration:
            if sender is not None:
                sender.went_out(item)
        except Exception as error:
            self._break(error)
        else:
            self.sending_since = time.monotonic()
            self._sending = asyncio.create_task(self._go_on(_Begun(work, waits_for), item, sender))

    async def _go_on(self, begun: _Begun, item: Item, sender: Sender | None) -> None:
        try:
            await begun
            while True:
                if sender is not None:
                    sender.went_out(item)
                if not self._waiting:
                    break
                item, sender = self._waiting.popleft()
                self._bytes -= len(item.text or "")
                self._went.set()
                self.sending_since = time.monotonic()
                await self._send(item)
        except Exception as error:
            self._break(error)
        finally:
            self._sending = self.sending_since = None

    def _break(self, error: Exception) -> None:
        if not isinstance(error, _GONE):
            log.error("a message could not be sent", exc_info=error)
        self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
        self._waiting.clear()
        self._went.set()

    async def close(self) -> None:
        """Nothing more goes out once this returns; what waited does not. Harmless twice."""
        self._end()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
