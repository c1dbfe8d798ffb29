"""The shell of IngestHost: a loop of its own in a thread of its own, so that neither parsing nor waiting stalls a call."""

import asyncio
import logging
import threading
import time
from pathlib import Path

import ray

from actors.ingest.host import Host
from actors.ingest.passwords import Passwords
from actors.ingest.watching import check_folder
from perenne import logs, metrics
from perenne import metric_table as table
from perenne.client import ray_instrument
from perenne.correlation import takes_ids
from perenne.directory import Directory
from perenne.errors import Unavailable
from perenne.lifecycle import Lifecycle
from perenne.messages.health import Health
from perenne.messages.records import WatchState
from perenne.relief import give_back
from perenne.settings import Settings

log = logging.getLogger(__name__)

_AGAIN_S = 2.0  # pause before a loop that fell over is begun again


@takes_ids
class IngestHost:
    """Durable jobs: leased, parsed, cut, embedded, committed. The rows are the truth; this holds nothing that a restart loses.

    There is no `close`: parsers end with their parent, and leases and checkpoints are in the rows for the next of this name."""

    CONCURRENCY = {"health": 2, "work": 8}

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        logs.begin(name, settings)
        self._name, self._settings, self._directory = name, settings, directory
        self._passwords = Passwords()
        self._host: Host | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life = Lifecycle(name, settings, directory, self._recover)
        self._life.begin()
        metrics.look(self._count)
        metrics.begin(name, ray_instrument)

    def _count(self) -> None:
        if self._host is not None:
            metrics.tell(table.JOBS_OPEN, self._host.queue)

    def _recover(self) -> None:
        """Start the loop; it takes this name's own leases back by itself."""
        if self._loop is None:
            started = threading.Event()
            threading.Thread(target=self._run, args=(started,), name="ingest", daemon=True).start()
            if not started.wait(10.0):
                raise TimeoutError("the ingest loop did not start within 10 s")

    def _run(self, started: threading.Event) -> None:
        async def work() -> None:
            self._loop = asyncio.get_running_loop()
            self._host = Host(self._name, self._settings, self._directory, self._passwords)
            started.set()
            await self._host.run()

        while True:
            try:
                asyncio.run(work())
            except Exception as error:
                log.exception("the ingest loop fell over and begins again")
                self._life.degrade(f"the ingest loop fell over: {error}")
            time.sleep(_AGAIN_S)
            self._life.degrade("")

    @ray.method(concurrency_group="work")
    async def wake(self) -> None:
        """There may be a job: look now. A nudge only; jobs are found without it."""
        await self._life.ready()
        loop, host = self._loop, self._host
        if loop is None or host is None:
            raise Unavailable(self._name, 1.0, "its loop is starting")
        loop.call_soon_threadsafe(host.wake)

    @ray.method(concurrency_group="work")
    async def keep_password(self, job_id: str, password: str) -> None:
        """The password of a job's file, sent before the job is: kept in memory until the job ends, forgotten by a restart."""
        await self._life.ready()
        self._passwords.keep(job_id, password)

    @ray.method(concurrency_group="work")
    async def check_folder(self, path: str) -> str:
        """The folder of this PC as it will be watched. InvalidRequest when it can't be."""
        await self._life.ready()
        return await asyncio.to_thread(check_folder, path, Path(self._settings.home))

    @ray.method(concurrency_group="work")
    async def look_at_watches(self) -> None:
        """A watch was added or removed. A nudge only."""
        await self._life.ready()
        if self._loop is not None and self._host is not None:
            self._loop.call_soon_threadsafe(self._host.watching.look)

    @ray.method(concurrency_group="work")
    async def watch_states(self, watch_ids: tuple[str, ...]) -> dict[str, WatchState]:
        """How it stands with these; one that was not begun yet is missing."""
        await self._life.ready()
        states = {} if self._host is None else self._host.watching.states()
        return {watch_id: states[watch_id] for watch_id in watch_ids if watch_id in states}

    @ray.method(concurrency_group="health")
    async def relieve(self) -> int:
        """Give memory back that is not needed; how many bytes."""
        return await asyncio.to_thread(give_back)

    @ray.method(concurrency_group="health")
    async def health(self) -> Health:
        """Jobs in hand and waiting, and whether they move: a parse within its caps counts as moving."""
        host = self._host
        if host is None:
            return self._life.health()
        return self._life.health(queue=host.queue, progress_age_s=host.pulse.age_s(), **dict(host.ended))
