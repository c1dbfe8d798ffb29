"""The shell of BackupKeeper: a loop of its own in a thread of its own, so that no backup stalls a call."""

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING

import ray

from perenne import __version__, logs, metrics
from perenne import metric_table as table
from perenne.client import ray_instrument
from perenne.correlation import takes_ids
from perenne.directory import Directory
from perenne.errors import Unavailable
from perenne.lifecycle import Lifecycle
from perenne.messages.backups import Backup, Schedule
from perenne.messages.health import Health
from perenne.relief import give_back
from perenne.settings import Settings

if TYPE_CHECKING:
    from actors.backups.shipping import Shipper

log = logging.getLogger(__name__)

_AGAIN_S = 5.0  # pause before a loop that fell over is begun again


@takes_ids
class BackupKeeper:
    """Backups and drills by the clock and on demand. What is listed in the target was written whole; what was under way when this died is
    not there, and said to be interrupted.

    There is no `close`: a backup that is under way when all ends is not listed, and made again when it is due."""

    CONCURRENCY = {"health": 2, "work": 8}

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        from actors.backups.keeper import Keeper
        from actors.backups.rounds import Rounds

        logs.begin(name, settings)
        self._name = name
        self._keeper = Keeper(settings, directory, __version__)
        self._rounds = Rounds(settings, self._keeper)
        self._keeper.note = self._rounds.noted
        self._shipper: Shipper | None = None
        self._ship(name, settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life = Lifecycle(name, settings, directory, self._recover)
        self._life.begin()

    def _ship(self, name: str, settings: Settings) -> None:
        """Fetch the database's log where it is kept."""
        from actors.backups import shipping

        if settings.backups.moments_days == 0 or not settings.database_url.startswith("sqlite:"):
            shipping.forget(settings)
            return
        shipper = self._shipper = shipping.Shipper(settings, lambda: self._keeper.repository(create=True))
        metrics.look(lambda: metrics.tell(table.BACKUP_LOSS, shipper.loss_s))
        metrics.begin(name, ray_instrument)

    def _recover(self) -> None:
        self._keeper.open()
        if self._loop is None:
            started = threading.Event()
            threading.Thread(target=self._run, args=(started,), name="backups", daemon=True).start()
            if not started.wait(10.0):
                raise TimeoutError("the loop of backups did not start within 10 s")

    def _run(self, started: threading.Event) -> None:
        async def work() -> None:
            self._loop = asyncio.get_running_loop()
            started.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._rounds.run())
                if self._shipper is not None:
                    group.create_task(self._shipper.run())

        while True:
            try:
                asyncio.run(work())
            except Exception as error:
                log.exception("the loop of backups fell over and begins again")
                self._life.degrade(f"the loop of backups fell over: {error}")
            time.sleep(_AGAIN_S)
            self._life.degrade("")

    @ray.method(concurrency_group="work")
    async def begin(self, what: str, backup_id: str | None = None) -> Schedule:
        """Begin a `backup`, a `drill` or a `verify`; follow it by `schedules`. Busy while one is under way; NotFound for a backup that is
        not there."""
        await self._life.ready()
        if what != "backup":
            await asyncio.to_thread(self._keeper.find, backup_id)
        loop = self._loop
        if loop is None:
            raise Unavailable(self._name, 1.0, "its loop is starting")

        async def ask() -> Schedule:
            return self._rounds.ask(what, backup_id)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask(), loop))

    @ray.method(concurrency_group="work")
    async def backups(self) -> tuple[Backup, ...]:
        """Those in the target, the newest first."""
        await self._life.ready()
        return await asyncio.to_thread(self._keeper.backups)

    @ray.method(concurrency_group="work")
    async def schedules(self) -> tuple[Schedule, ...]:
        """When each is done next, whether it is under way, and how it ended last."""
        await self._life.ready()
        return self._rounds.schedules()

    @ray.method(concurrency_group="health")
    async def relieve(self) -> int:
        """Give memory back that is not needed; how many bytes."""
        return await asyncio.to_thread(give_back)

    @ray.method(concurrency_group="health")
    async def health(self) -> Health:
        """A backup under way moves for as long as bytes do."""
        working = self._rounds.working
        age = time.monotonic() - self._keeper.progress.moved_at if working and self._keeper.progress.moved_at else 0.0
        return self._life.health(queue=int(working), progress_age_s=age)
