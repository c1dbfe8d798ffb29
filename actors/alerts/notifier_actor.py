"""The shell of Notifier: a loop of its own in a thread of its own, in which everything runs; calls are handed over to it."""

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING

import ray

from perenne import logs
from perenne.client import lines_folder
from perenne.correlation import takes_ids
from perenne.directory import Directory
from perenne.errors import Unavailable
from perenne.lifecycle import Lifecycle
from perenne.line_owner import LineOwner
from perenne.messages.alerts import Trial
from perenne.messages.health import Health
from perenne.relief import give_back
from perenne.settings import Settings

if TYPE_CHECKING:
    from actors.alerts.notifier import Notifier as Core
    from actors.alerts.notifier_bell import Bell

log = logging.getLogger(__name__)

_AGAIN_S = 1.0  # pause before a loop that fell over is begun again


@takes_ids
class Notifier:
    """Sends what is in the outbox. The rows are the truth; this holds nothing that a restart loses.

    There is no `close`: what is being sent ends with the process, and its leases are taken back by the next of this name."""

    CONCURRENCY = {"health": 2, "work": 16}

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        logs.begin(name, settings)
        self._name, self._settings, self._directory = name, settings, directory
        self._core: Core | None = None
        self._bell: Bell | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life = Lifecycle(name, settings, directory, self._recover)
        self._life.begin()
        LineOwner(name, self, frozenset({"wake", "try_channel"}), lines_folder(settings.ray_dir)).begin()

    def _recover(self) -> None:
        if self._loop is not None:
            return
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), name="notifier", daemon=True).start()
        if not started.wait(10.0):
            raise TimeoutError("the loop of messages did not start within 10 s")

    def _run(self, started: threading.Event) -> None:
        from actors.alerts.notifier import Notifier as Core
        from actors.alerts.notifier_bell import bell_of
        from actors.alerts.outgoing import Sender
        from perenne.clock import SystemClock
        from perenne.store import Store

        async def work() -> None:
            sender = Sender(self._settings.outgoing)
            self._bell = bell_of(self._settings)
            store = Store(self._directory, self._settings.store.readers)
            self._core = Core(self._name, store, sender, self._bell, SystemClock())
            self._loop = asyncio.get_running_loop()
            started.set()
            try:
                await self._core.run()
            finally:
                await sender.close()

        while True:
            try:
                asyncio.run(work())
            except Exception as error:
                log.exception("the loop of messages fell over and begins again")
                self._life.degrade(f"the loop of messages fell over: {error}")
            time.sleep(_AGAIN_S)
            self._life.degrade("")

    async def _there(self) -> tuple["Core", asyncio.AbstractEventLoop]:
        await self._life.ready()
        if self._core is None or self._loop is None or self._loop.is_closed():
            raise Unavailable(self._name, 0.5, "its loop is starting")
        return self._core, self._loop

    @ray.method(concurrency_group="work")
    async def wake(self) -> None:
        """There may be a message to send: look now. A nudge only; messages are found without it."""
        core, loop = await self._there()
        loop.call_soon_threadsafe(core.wake)

    @ray.method(concurrency_group="work")
    async def try_channel(self, channel_id: str) -> Trial:
        """Send a message over a channel now and say what came back."""
        core, loop = await self._there()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(core.try_channel(channel_id), loop))

    @ray.method(concurrency_group="health")
    async def relieve(self) -> int:
        """Give memory back that is not needed; how many bytes."""
        return await asyncio.to_thread(give_back)

    @ray.method(concurrency_group="health")
    async def health(self) -> Health:
        """`queue`: messages under way. A send has a limit of time, so that one under way is no sign of a hang."""
        core, bell = self._core, self._bell
        if core is None or bell is None:
            return self._life.health()
        age_s = time.monotonic() - core.progress_at
        return self._life.health(queue=core.queue, progress_age_s=age_s, hints=bell.state(), **core.figures)
