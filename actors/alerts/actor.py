"""The shell of AlertCenter: a loop of its own in a thread of its own, which looks at everything."""

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING

import ray

from perenne import logs
from perenne.correlation import takes_ids
from perenne.directory import Directory
from perenne.errors import Unavailable
from perenne.lifecycle import Lifecycle
from perenne.messages.alerts import Signal
from perenne.messages.health import Health
from perenne.relief import give_back
from perenne.settings import CONFIGS, Settings

if TYPE_CHECKING:
    from actors.alerts.rules import Rule
    from actors.alerts.watch import Watch

log = logging.getLogger(__name__)

_AGAIN_S = 2.0  # pause before a loop that fell over is begun again


@takes_ids
class AlertCenter:
    """Watches over the instance and writes down what its owner should know. The rows are the truth; a restart takes on what fires.

    There is no `close`: what is to be told is in the outbox with the alert, or in a file while the database is away."""

    CONCURRENCY = {"health": 2, "work": 8}

    def __init__(self, name: str, settings: Settings, directory: Directory) -> None:
        logs.begin(name, settings)
        self._name, self._settings, self._directory = name, settings, directory
        self._watch: Watch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wrong = ""
        self._life = Lifecycle(name, settings, directory, self._recover)
        self._life.begin()

    def _recover(self) -> None:
        if self._loop is not None:
            return
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), name="alerts", daemon=True).start()
        if not started.wait(10.0):
            raise TimeoutError("the loop of alerts did not start within 10 s")

    def _rules(self) -> "tuple[Rule, ...]":
        """The owner's; with a mistake in them the shipped ones, and that is said."""
        from actors.alerts.rules import load_rules
        from perenne.errors import ConfigurationError

        shipped, own = CONFIGS / "alerts.yaml", self._settings.path("alerts.yaml")
        try:
            return load_rules(shipped, own)
        except ConfigurationError as error:
            log.error("%s", error)
            self._wrong = f"the rules that are shipped are used, because of {error}"
            return load_rules(shipped, shipped)

    def _run(self, started: threading.Event) -> None:
        from actors.alerts.watch import Watch
        from perenne.clock import SystemClock

        rules = self._rules()

        async def work() -> None:
            self._watch = Watch(self._settings, self._directory, SystemClock(), rules)
            self._loop = asyncio.get_running_loop()
            started.set()
            await self._watch.run()

        while True:
            try:
                asyncio.run(work())
            except Exception as error:
                log.exception("the loop of alerts fell over and begins again")
                self._life.degrade(f"the loop of alerts fell over: {error}")
            time.sleep(_AGAIN_S)

    @ray.method(concurrency_group="work")
    async def observe(self, signals: tuple[Signal, ...], source: str = "") -> None:
        """What another actor saw. It holds until it is told otherwise, or for as long as its rule says: tell it again while it lasts. Each of
        several that see a part of the same, such as replicas, is a `source` of its own: what they told within a minute is taken together."""
        await self._life.ready()
        watch, loop = self._watch, self._loop
        if watch is None or loop is None or loop.is_closed():
            raise Unavailable(self._name, 1.0, "its loop is starting")
        loop.call_soon_threadsafe(watch.observe, signals, source)

    @ray.method(concurrency_group="health")
    async def relieve(self) -> int:
        """Give memory back that is not needed; how many bytes."""
        return await asyncio.to_thread(give_back)

    @ray.method(concurrency_group="health")
    async def health(self) -> Health:
        """`queue`: alerts that wait for the database. Its loop moves every few seconds, with or without work."""
        watch = self._watch
        if watch is None:
            return self._life.health()
        age_s = time.monotonic() - watch.progress_at
        away = "" if watch.away is None else f"the database is away: {watch.away}"
        self._life.degrade(self._wrong or away)
        return self._life.health(queue=watch.waiting, progress_age_s=age_s)
