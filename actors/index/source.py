"""Where a shard's changes come from."""

from collections.abc import AsyncIterator
from typing import Protocol

from perenne import names
from perenne.directory import Directory
from perenne.messages.search import Feed
from perenne.store import Store


class FeedSource(Protocol):
    """The changes of one vector space, in order."""

    async def feed(self, after_seq: int, limit_bytes: int) -> Feed:
        """What came after a sequence, up to a size."""
        ...

    def heads(self, after: int) -> AsyncIterator[int]:
        """The head as it moves; ends or raises whenever it likes and is asked again."""
        ...


class StoreFeed:
    """The feed of the store, found through a directory."""

    def __init__(self, directory: Directory, space: str, readers: int = 1) -> None:
        self._directory, self._space, self._store = directory, space, Store(directory, readers)

    async def feed(self, after_seq: int, limit_bytes: int) -> Feed:
        return await self._store.read("index_feed", space=self._space, after_seq=after_seq, limit_bytes=limit_bytes)

    def heads(self, after: int) -> AsyncIterator[int]:
        return self._directory.stream(names.STORE_WRITER, "follow_head", silence_s=names.FOLLOW_SILENCE_S, after=after)
