"""Where a shard's changes come from."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Protocol

from perenne import names
from perenne.directory import Directory
from perenne.messages.search import Feed

FEED_S = 10.0  # the longest that one page may take


class FeedSource(Protocol):
    """The changes of one vector space, in order."""

    async def feed(self, after_seq: int, limit_bytes: int) -> Feed:
        """What came after a sequence, up to a size."""
        ...

    def heads(self, after: int) -> AsyncIterator[int]:
        """The head as it moves; ends or raises whenever it likes and is asked again."""
        ...


class StoreFeed:
    """The feed of the store, found through a directory. Each page is asked of the next reader, once: the follower asks again."""

    def __init__(self, directory: Directory, space: str, readers: int = 1) -> None:
        self._directory, self._space = directory, space
        self._readers = itertools.cycle([names.store_reader(n) for n in range(readers)])

    async def feed(self, after_seq: int, limit_bytes: int) -> Feed:
        arguments = {"space": self._space, "after_seq": after_seq, "limit_bytes": limit_bytes}
        return await self._directory.call(next(self._readers), "index_feed", timeout_s=FEED_S, **arguments)

    def heads(self, after: int) -> AsyncIterator[int]:
        return self._directory.stream(names.STORE_WRITER, "follow_head", silence_s=names.FOLLOW_SILENCE_S, after=after)


class ForgetfulFeed(StoreFeed):
    """The mutant: what came before its first look counts as applied, and isn't."""

    _looked = False

    async def feed(self, after_seq: int, limit_bytes: int) -> Feed:
        page = await super().feed(after_seq, limit_bytes)
        if self._looked:
            return page
        self._looked = True
        return replace(page, items=(), upto=page.head)
