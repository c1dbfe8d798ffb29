"""The shell of RunHost: a loop of its own in a thread of its own, in which everything runs; calls are handed over to it."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import ray

from actors.runs.host import Host
from perenne import logs, metrics, names
from perenne import metric_table as table
from perenne.client import ray_instrument
from perenne.correlation import takes_ids
from perenne.directory import Directory
from perenne.errors import Unavailable
from perenne.lifecycle import Lifecycle
from perenne.messages.health import Health
from perenne.messages.records import RunEvent
from perenne.messages.search import SearchRequest, SearchResponse
from perenne.relief import give_back
from perenne.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN_S = 1.0  # pause before a loop that fell over is begun again


@takes_ids
class RunHost:
    """Answers: searches at once, runs one after another. The rows are the truth; a restart takes them up where they stand.

    There is no `close`: what is in hand is in the rows, word by word, so that an end of the process is as good as any other."""

    # `follow` holds its place for up to 30 s: followers have a group of their own, so that they never keep a search waiting.
    CONCURRENCY = {"health": 2, "work": 64, "follow": 256}

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        logs.begin(name, settings)
        self._name, self._settings, self._directory = name, settings, directory
        self._host: Host | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life = Lifecycle(name, settings, directory, self._recover)
        self._life.begin()
        metrics.look(self._count)
        metrics.begin(name, ray_instrument)

    def _count(self) -> None:
        if self._host is not None:
            metrics.tell(table.RUNS_OPEN, self._host.desk.queue)

    def _recover(self) -> None:
        """Start the loop; it takes open runs up by itself."""
        if self._loop is not None:
            return
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), name="runs", daemon=True).start()
        if not started.wait(10.0):
            raise TimeoutError("the loop of runs did not start within 10 s")

    def _run(self, started: threading.Event) -> None:
        async def work() -> None:
            self._host = Host(self._name, self._settings, self._directory)
            self._loop = asyncio.get_running_loop()
            started.set()
            beside = [asyncio.create_task(self._host.search_first()), asyncio.create_task(self._host.report())]
            try:
                await self._host.run()
            finally:
                for task in beside:
                    task.cancel()

        while True:
            try:
                asyncio.run(work())
            except Exception as error:
                log.exception("the loop of runs fell over and begins again")
                self._life.degrade(f"the loop of runs fell over: {error}")
            time.sleep(_AGAIN_S)
            self._life.degrade("")

    async def _hosted(self) -> Host:
        await self._life.ready()
        if self._host is None:
            raise Unavailable(self._name, 0.5, "it is starting")
        return self._host

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        """Await in the loop of runs."""
        loop = self._loop
        if loop is None or loop.is_closed():
            work.close()
            raise Unavailable(self._name, 0.5, "its loop is starting")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    @ray.method(concurrency_group="work")
    async def search(self, request: SearchRequest) -> SearchResponse:
        """Passages that bear on the query, best first; see `Searcher.search`."""
        host = await self._hosted()
        return await self._there(host.search(request))

    @ray.method(concurrency_group="work")
    async def start(self, run_id: str) -> None:
        """A nudge: there is a run to answer. The row is the truth; runs are found without it."""
        host = await self._hosted()
        await self._there(host.start(run_id))

    @ray.method(concurrency_group="work")
    async def stop(self, run_id: str) -> None:
        """Stop working on a run that its row says is to be stopped."""
        host = await self._hosted()
        await self._there(host.stop(run_id))

    @ray.method(concurrency_group="follow")
    async def follow(self, run_id: str, user_id: str, after: int) -> AsyncIterator[RunEvent]:
        """Events after `after`: from memory once they are on disk, older ones from the database; a heartbeat each second
        without news; over after 30 s (ask again by sequence) or at the run's end. NotFound for another user's run."""
        host = await self._hosted()
        until = time.monotonic() + names.FOLLOW_LEASE_S
        host.enter()
        try:
            while time.monotonic() < until:
                step = await self._there(host.step(run_id, user_id, after))
                for event in step.events:
                    after = event.seq
                    yield event
                if step.over:
                    return
        finally:
            host.leave()

    @ray.method(concurrency_group="health")
    async def relieve(self) -> int:
        """Give memory back that is not needed; how many bytes."""
        return await asyncio.to_thread(give_back)

    @ray.method(concurrency_group="health")
    async def health(self) -> Health:
        """Runs waiting or in hand, and how long ago one of them moved."""
        host = self._host
        if host is None:
            return self._life.health()
        age_s = time.monotonic() - host.desk.progress_at if host.desk.queue else 0.0
        return self._life.health(queue=host.desk.queue, progress_age_s=age_s, followers=host.followers)
