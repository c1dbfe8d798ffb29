"""What the routes share in one replica: nothing here must survive it."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from perenne import correlation, names
from perenne.directory import Directory
from perenne.errors import PerenneError
from perenne.ids import new_id
from perenne.messages.health import TreeStatus
from perenne.reporting import report
from perenne.settings import Settings
from perenne.store import Store
from serve.channels import Channels
from serve.guard import Pace
from serve.keyring import Keyring
from serve.tickets import Tickets
from serve.vitals import Vitals

log = logging.getLogger(__name__)

STATUS_KEPT_S = 0.5  # how long the Supervisor's word is repeated to open probes
_STATUS_WITHIN_S = 1.0
_NUDGE_WITHIN_S = 2.0
_PASSWORD_WITHIN_S = 5.0


class Edge:
    """One replica's holdings."""

    def __init__(self, settings: Settings, directory: Directory) -> None:
        self.settings, self.directory = settings, directory
        self.store = Store(directory, settings.store.readers)
        self.keyring = Keyring(self.store)
        self.pace = Pace(settings.edge)
        self.vitals = Vitals()
        self.tickets = Tickets(settings.path("run", "tickets"))
        self.channels = Channels(directory, self.store)
        self.sockets: Counter[str] = Counter()  # open now, by key
        self.closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._errands: set[asyncio.Task[Any]] = set()
        self._status: tuple[float, TreeStatus] | None = None

    def open(self) -> None:
        """Once, on the event loop that the routes run on."""
        self._loop = asyncio.get_running_loop()
        self._reporting = self._loop.create_task(report(self.directory, new_id("edge"), self.vitals.signals))

    def close(self) -> None:
        """Say to every stream that this replica ends. From any thread; harmless twice."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self.closing.set()
        if self._reporting is not None:
            self._reporting.cancel()

    def errand(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something beside the answer; an outage of its goal is only logged: the row in the database is the truth."""
        task = asyncio.create_task(self._quietly(work))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _quietly(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except PerenneError as error:
            log.info("a nudge did not arrive: %s", error)

    def start_run(self, run_id: str) -> None:
        """Tell the run host of a new run; it would find the row by itself, later."""
        correlation.work_on(run_id)
        self.errand(self.directory.call(names.RUN_HOST, "start", timeout_s=_NUDGE_WITHIN_S, run_id=run_id))

    def stop_run(self, run_id: str) -> None:
        """Tell the run host that a run is to stop, as its row says already."""
        self.errand(self.directory.call(names.RUN_HOST, "stop", timeout_s=_NUDGE_WITHIN_S, run_id=run_id))

    def wake_ingest(self) -> None:
        """Tell the ingest host of a new job; it would find the row by itself, later."""
        self.errand(self.directory.call(names.INGEST_HOST, "wake", timeout_s=_NUDGE_WITHIN_S))

    def wake_notifier(self) -> None:
        """Tell the sender of messages of a new one; it would find the row by itself, later."""
        self.errand(self.directory.call(names.NOTIFIER, "wake", timeout_s=_NUDGE_WITHIN_S))

    def look_at_watches(self) -> None:
        """Tell the ingest host of a folder that is watched now, or no more; it would find the row by itself, later."""
        self.errand(self.directory.call(names.INGEST_HOST, "look_at_watches", timeout_s=_NUDGE_WITHIN_S))

    async def keep_password(self, job_id: str, password: str) -> None:
        """Give the ingest host a file's password before its job is there: in no command, no row and no log. Unavailable when
        the host is away: the caller sends again."""
        await self.directory.call(
            names.INGEST_HOST, "keep_password", timeout_s=_PASSWORD_WITHIN_S, job_id=job_id, password=password
        )

    async def status(self) -> TreeStatus:
        """The Supervisor's word; not ready, and why, when there is none."""
        if self._status is not None and self._status[0] > time.monotonic():
            return self._status[1]
        try:
            status: TreeStatus = await self.directory.call(names.SUPERVISOR, "status", timeout_s=_STATUS_WITHIN_S)
        except PerenneError as error:
            status = TreeStatus(ready=False, children=(), reasons=(str(error),))
        self._status = (time.monotonic() + STATUS_KEPT_S, status)
        return status
