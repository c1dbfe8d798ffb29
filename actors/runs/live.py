"""The events of runs in flight, in memory once they are on disk, and who waits for the next one."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from perenne.messages.records import RunEvent

CLOSED_KEPT = 64  # ended runs whose events stay at hand for followers that are a moment late
EVENTS_KEPT = 4_096  # of one run; older ones are read from the database


class Feed:
    """One run's committed events, and a bell."""

    def __init__(self, run_id: str, user_id: str, last: int) -> None:
        self.run_id, self.user_id = run_id, user_id
        self.events: list[RunEvent] = []
        self.last = last
        self.closed = False
        self._bell = asyncio.Event()

    @property
    def first(self) -> int:
        """The first sequence number held here; below it the database has to be asked."""
        return self.last - len(self.events) + 1

    def publish(self, events: Sequence[RunEvent], closed: bool) -> None:
        """Events that are on disk, in order."""
        self.events.extend(events)
        del self.events[:-EVENTS_KEPT]
        if events:
            self.last = events[-1].seq
        self.closed = self.closed or closed
        self._bell.set()
        self._bell = asyncio.Event()

    def after(self, seq: int) -> list[RunEvent]:
        """What is held here after `seq`."""
        return self.events[max(0, seq - self.first + 1) :]

    async def wait(self, seq: int, within_s: float) -> None:
        """Return when there is more than `seq`, the run is closed, or the time is over."""
        if self.last > seq or self.closed:
            return
        try:
            async with asyncio.timeout(within_s):  # Python 3.11's wait_for eats a cancel that meets the bell
                await self._bell.wait()
        except TimeoutError:
            return


class Feeds:
    """All feeds of this host: every open run's, and the last closed ones'."""

    def __init__(self) -> None:
        self._open: dict[str, Feed] = {}
        self._closed: OrderedDict[str, Feed] = OrderedDict()
        self._bell = asyncio.Event()

    def open(self, run_id: str, user_id: str, last: int) -> Feed:
        """A fresh feed for an attempt that begins after event `last`; followers of an older one are let go."""
        old = self._open.pop(run_id, None)
        feed = self._open[run_id] = Feed(run_id, user_id, last)
        self._closed.pop(run_id, None)
        if old is not None:
            old.publish((), closed=True)
        self._bell.set()
        self._bell = asyncio.Event()
        return feed

    async def opened(self, run_id: str, within_s: float) -> None:
        """Return when this run begins here, or the time is over."""
        try:
            async with asyncio.timeout(within_s):
                while self.find(run_id) is None:
                    await self._bell.wait()
        except TimeoutError:
            return

    def close(self, run_id: str) -> None:
        """The run is no longer this host's; its events stay a while."""
        feed = self._open.pop(run_id, None)
        if feed is None:
            return
        feed.publish((), closed=True)
        self._closed[run_id] = feed
        while len(self._closed) > CLOSED_KEPT:
            self._closed.popitem(last=False)

    def find(self, run_id: str) -> Feed | None:
        """The feed of a run that is or was just here."""
        return self._open.get(run_id) or self._closed.get(run_id)
