"""The shell of one shard."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import ray

from perenne import correlation, logs, metrics
from perenne import metric_table as table
from perenne.client import ray_instrument
from perenne.correlation import takes_ids
from perenne.directory import Directory
from perenne.errors import Unavailable
from perenne.lifecycle import Lifecycle
from perenne.messages.health import Health
from perenne.messages.search import ShardHits, ShardQuery
from perenne.relief import give_back
from perenne.settings import Settings

if TYPE_CHECKING:
    from actors.index.follower import Follower
    from actors.index.shard import Shard

log = logging.getLogger(__name__)

Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])

SEARCHING = 64  # searches in hand, most of them waiting for a sequence
SEARCH_THREADS = 2  # searches that compute; FAISS runs on the caller's thread alone
WAIT_S_MAX = 5.0  # the longest that a search may wait for a sequence


def _in(group: str) -> Callable[[Method], Method]:
    return ray.method(concurrency_group=group)  # type: ignore[no-any-return]


@takes_ids
class IndexShard:
    """`name` is IndexShard-<space>-<number>. State: HOME/index/<space>/<number>, rebuilt from the feed when it is lost."""

    CONCURRENCY: ClassVar[dict[str, int]] = {"health": 2, "search": SEARCHING}

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        logs.begin(name, settings)
        self._name, self._settings, self._directory = name, settings, directory
        self._shard: Shard | None = None
        self._follower: Follower | None = None
        self._pool = ThreadPoolExecutor(SEARCH_THREADS, thread_name_prefix="search")
        self._searching = 0
        self._searched_at = time.monotonic()  # since when a search ended, or there was one again
        self._life = Lifecycle(name, settings, directory, self._recover)
        self._life.begin()
        metrics.look(self._count)
        metrics.begin(name, ray_instrument)

    def _count(self) -> None:
        shard, follower = self._shard, self._follower
        if shard is not None and follower is not None:
            figures = shard.figures()
            metrics.tell(table.SHARD_ROWS, figures["vectors"])
            metrics.tell(table.SHARD_TAIL, figures["tail"])
            metrics.tell(table.SHARD_DEAD, figures["dead"])
            metrics.tell(table.SHARD_LAG, follower.queue)

    def _recover(self) -> None:
        from actors.index.follower import Follower
        from actors.index.policy import limits_of
        from actors.index.shard import Shard
        from actors.index.snapshot import ShardSpec, remove_surplus
        from actors.index.source import ForgetfulFeed, StoreFeed
        from perenne.mutants import NO_REPLAY, mutant_of

        space, _, number = self._name.removeprefix("IndexShard-").rpartition("-")
        spec = ShardSpec(space, self._settings.embedding.model, int(number), self._settings.shards)
        shard = Shard(self._settings.path("index", space, number), spec, limits=limits_of(self._settings))
        if spec.number == 0:
            remove_surplus(self._settings.path("index", space), spec.shards)
        shard.open()
        readers = self._settings.store.readers
        feed = ForgetfulFeed if mutant_of(self._settings) == NO_REPLAY else StoreFeed
        follower = Follower(shard, lambda: feed(self._directory, space, readers), on_trouble=self._life.degrade)
        follower.start()
        self._shard, self._follower = shard, follower

    async def _ready(self) -> "tuple[Shard, Follower]":
        await self._life.ready()
        if self._shard is None or self._follower is None:
            raise Unavailable(self._name, 1.0, "it is closed")
        return self._shard, self._follower

    @_in("search")
    async def search(self, query: ShardQuery) -> ShardHits:
        """The nearest passages; waits up to `query.wait_s` for `query.min_seq`, then answers with what it has and says so."""
        shard, follower = await self._ready()
        if not self._searching:
            self._searched_at = time.monotonic()
        self._searching += 1
        began = time.monotonic()
        try:
            if query.min_seq > shard.applied:
                follower.nudge()
                await follower.gate.wait(query.min_seq, min(query.wait_s, WAIT_S_MAX))
            work = correlation.inherited(shard.search)
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, query)
        finally:
            took_s = time.monotonic() - began
            metrics.tell(table.SHARD_SECONDS, took_s)
            log.log(correlation.level(), "searched in %.1f ms", took_s * 1000)
            self._searching -= 1
            self._searched_at = time.monotonic()

    @_in("health")
    async def applied(self) -> int:
        """The sequence that the next search sees at least."""
        shard, _ = await self._ready()
        return shard.applied

    @_in("health")
    async def relieve(self) -> int:
        """Give memory back that is not needed; how many bytes."""
        return await asyncio.to_thread(give_back)

    @_in("health")
    async def health(self) -> Health:
        """`queue`: changes not applied yet; `figures`: what the shard holds."""
        shard, follower = self._shard, self._follower
        if shard is None or follower is None:
            return self._life.health()
        figures = await asyncio.to_thread(shard.figures)
        now = time.monotonic()
        age = max(
            now - follower.progress_at if follower.queue else 0.0,
            now - self._searched_at if self._searching else 0.0,
        )
        return self._life.health(queue=follower.queue + self._searching, progress_age_s=age, **figures)

    async def close(self) -> None:
        """Stop following and leave a snapshot. Searches in hand end; harmless twice."""
        shard, follower = self._shard, self._follower
        if shard is not None and follower is not None:
            await asyncio.to_thread(follower.stop)
            await asyncio.to_thread(shard.close)
