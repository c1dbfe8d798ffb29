"""What waits to be sent on one socket, bounded in number and in bytes."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol


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


class Outbox:
    """A queue with one taker. A single message may be larger than `bytes_max`, if nothing else waits."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages_max, self._bytes_max = messages_max, bytes_max
        self._waiting: deque[tuple[Item, Sender | None]] = deque()
        self._bytes = 0
        self._came, self._went = asyncio.Event(), asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, item: Item, sender: Sender | None = None) -> bool:
        """Queue it; False, and nothing is queued, when there is no room."""
        size = len(item.text or "")
        if self._waiting and (len(self._waiting) >= self._messages_max or self._bytes + size > self._bytes_max):
            return False
        self._waiting.append((item, sender))
        self._bytes += size
        self._came.set()
        return True

    async def put(self, item: Item, sender: Sender | None = None) -> None:
        """Queue it as soon as there is room."""
        while not self.offer(item, sender):
            self._went.clear()
            await self._went.wait()

    async def take(self) -> tuple[Item, Sender | None]:
        """The next one, once there is one."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        item, sender = self._waiting.popleft()
        self._bytes -= len(item.text or "")
        self._went.set()
        return item, sender
