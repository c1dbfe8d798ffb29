"""Keeps a shard at the head of its feed: pushed when the writer says so, polled when nobody says anything."""

import asyncio
import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from actors.index.gate import SequenceGate
from actors.index.shard import Shard
from actors.index.source import FeedSource
from perenne.errors import PerenneError

log = logging.getLogger(__name__)

PAGE_BYTES = 8 << 20  # of one page of the feed: 4,096 vectors of 512
POLL_S = 2.0  # the net under the writer's push
KEEP_S = 5.0  # how often a quiet shard looks whether a snapshot or a merge is due
KEEP_AGAIN_S = 30.0  # after the disk failed
LINK_NICE = 10  # of the thread that makes graphs: searches come first
RETRY_S = 0.5  # after a source failed, with jitter
START_S = 10.0  # a loop that is not there by then
RESETS_AFTER = 2  # looks at a head behind what was applied, before all is forgotten


class Follower:
    """Runs in a thread with an event loop of its own, so that no other loop of the process waits for it.

    `queue` and `progress_at` are for `health`: changes not applied yet, and when something was last done about them."""

    def __init__(
        self,
        shard: Shard,
        source: Callable[[], FeedSource],
        *,
        on_trouble: Callable[[str], None] = lambda _: None,
        poll_s: float = POLL_S,
    ) -> None:
        self._shard, self._new_source, self._on_trouble, self._poll_s = shard, source, on_trouble, poll_s
        self.gate = SequenceGate()
        self.head = 0
        self.progress_at = time.monotonic()
        self._behind_head = 0  # times in a row that the feed's head was older than what is applied
        self._troubles: dict[str, str] = {}
        self._started, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._linker = ThreadPoolExecutor(1, thread_name_prefix="linker", initializer=_be_nice)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._main: asyncio.Task[None] | None = None

    @property
    def queue(self) -> int:
        return max(0, self.head - self._shard.applied)

    def start(self) -> None:
        """Begin to follow; returns once its loop runs."""
        self.gate.reach(self._shard.applied)
        self._thread.start()
        if not self._started.wait(START_S):
            raise TimeoutError(f"the follower's loop did not start within {START_S:g} s")

    def nudge(self) -> None:
        """Look at the feed now; from any thread."""
        if self._loop is not None and self._wake is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # it closed this very moment
                self._loop.call_soon_threadsafe(self._wake.set)

    def stop(self, within_s: float = 5.0) -> None:
        """End following; what was fetched is applied or not, whole pages only. Harmless twice."""
        self._stopping.set()
        self._shard.stop_linking()
        self._linker.shutdown(wait=False, cancel_futures=True)
        if self._loop is not None and self._main is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._main.cancel)
        if self._thread.is_alive():
            self._thread.join(within_s)

    def _run(self) -> None:
        """Follow until stopped; whatever fails is told, and all of it is begun again: nobody else would notice."""
        while not self._stopping.is_set():
            try:
                asyncio.run(self._follow())
            except asyncio.CancelledError:
                return
            except Exception as error:
                log.exception("following fell over and begins again")
                self._trouble("follower", f"following fell over: {error}")
                self._stopping.wait(RETRY_S)

    async def _follow(self) -> None:
        self._loop, self._wake, self._main = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()
        self._started.set()
        if self._stopping.is_set():
            return
        source = self._new_source()
        self._trouble("follower", "")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(source, self._wake))
            tasks.create_task(self._pull(source, self._wake))
            tasks.create_task(self._keep())
            tasks.create_task(self._link())

    def _trouble(self, where: str, what: str) -> None:
        """Say what is wrong in one place, or that nothing is any more."""
        if what != self._troubles.get(where, ""):
            self._troubles[where] = what
            (log.warning if what else log.info)("%s: %s", where, what or "well again")
            self._on_trouble("; ".join(filter(None, self._troubles.values())))

    async def _watch(self, source: FeedSource, wake: asyncio.Event) -> None:
        """Wake the puller whenever the writer's head moves. Its silence or death costs at most the polling interval."""
        while True:
            try:
                async for head in source.heads(self._shard.applied):
                    if head != self.head:
                        self.head = head
                        wake.set()
            except PerenneError as error:
                log.debug("the writer's head is not followed: %s", error)
                await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))
            except Exception:
                log.exception("following the writer's head failed")
                await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))

    async def _pull(self, source: FeedSource, wake: asyncio.Event) -> None:
        while True:
            wake.clear()
            try:
                more = await self._page(source)
                self._trouble("feed", "")
            except Exception as error:
                if not isinstance(error, PerenneError):
                    log.exception("applying the feed failed")
                self._trouble("feed", f"the feed can't be read: {error}")
                await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))
                more = True
            self.progress_at = time.monotonic()  # a store that is away is not a shard that hangs
            if not more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await wake.wait()

    async def _page(self, source: FeedSource) -> bool:
        """Fetch and apply one page; whether there is more."""
        shard = self._shard
        feed = await source.feed(shard.applied, PAGE_BYTES)
        self.head = feed.head
        if await self._another_feed(feed.origin, feed.head):
            return True
        applied = await asyncio.to_thread(shard.apply, feed)
        self.gate.reach(applied)
        if applied < feed.head:
            await self._keep_once(behind=True)
        return applied < feed.head

    async def _another_feed(self, origin: str, head: int) -> bool:
        """Whether this is not the feed that was followed (a restored or a new database): then the shard begins from nothing."""
        shard = self._shard
        self._behind_head = self._behind_head + 1 if head < shard.applied else 0
        if self._behind_head < RESETS_AFTER and (not origin or not shard.origin or origin == shard.origin):
            return False
        log.warning("the feed is another one (origin %r, head %d): beginning from nothing", origin, head)
        await asyncio.to_thread(shard.reset)
        self._behind_head = 0
        self.gate.reach(0)
        return True

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S if not self._troubles.get("disk") else KEEP_AGAIN_S)
            await self._keep_once(behind=False)

    async def _keep_once(self, *, behind: bool) -> None:
        try:
            await asyncio.to_thread(self._shard.keep, behind)
            self._trouble("disk", "")
        except Exception as error:
            if not isinstance(error, OSError):
                log.exception("keeping the shard failed")
            self._trouble("disk", f"no snapshot can be written: {error}")

    async def _link(self) -> None:
        """Keep the graph at the policy's heels, in a thread of its own: a merge must not wait for it."""
        while not self._stopping.is_set():
            more = False
            try:
                more = await asyncio.get_running_loop().run_in_executor(self._linker, self._shard.link)
                self._trouble("graph", "")
            except Exception as error:
                if self._stopping.is_set():
                    return
                log.exception("making the graph failed")
                self._trouble("graph", f"the graph can't be made: {error}")
            if not more:
                await asyncio.sleep(KEEP_S if not self._troubles.get("graph") else KEEP_AGAIN_S)


def _be_nice() -> None:
    """On Linux a thread has a priority of its own."""
    with contextlib.suppress(OSError):
        here = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, here, os.getpriority(os.PRIO_PROCESS, here) + LINK_NICE)
