"""The Supervisor's shell: a named, detached actor that Ray restarts, and the root process when it hangs."""

import asyncio
import logging
import os
import threading
import time
from typing import Any

import ray

from cluster import doorbell
from cluster.tending import Tending
from perenne import logs, metrics
from perenne import metric_table as table
from perenne.client import RayDirectory, ray_instrument
from perenne.correlation import takes_ids
from perenne.errors import PerenneError, Unavailable
from perenne.messages.health import Go, Health, SupervisionEvent, TreeStatus
from perenne.names import SUPERVISOR
from perenne.schedules import read_schedules
from perenne.settings import Settings

log = logging.getLogger(__name__)


@takes_ids
class Supervisor:
    """Keeps the tree. It holds nothing that can't be seen again: restarted, it finds its children by name."""

    CONCURRENCY = {"health": 4, "go": 32}

    def __init__(self, settings: Settings) -> None:
        logs.begin(SUPERVISOR, settings)
        self._settings = settings
        self._tending: Tending | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure = ""
        threading.Thread(target=self._run, name="tending", daemon=True).start()
        metrics.look(self._count)
        metrics.begin(SUPERVISOR, ray_instrument)

    def _count(self) -> None:
        if self._tending is not None:
            self._tending.count()
        for schedule in read_schedules(self._settings.home):
            if schedule.good is not None:
                metrics.tell(table.SCHEDULE_AGE, max(0.0, time.time() - schedule.good.ended_at), schedule.name)
            if schedule.last is not None:
                metrics.tell(table.SCHEDULE_OK, float(schedule.last.ok), schedule.name)

    def _run(self) -> None:
        while True:
            try:
                asyncio.run(self._tend())
                return
            except Exception as error:  # nothing may end the one that keeps all others
                self._failure = str(error)
                log.exception("the tree could not be tended")
                time.sleep(1.0)

    async def _tend(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tending = tending = Tending(self._settings, RayDirectory())
        door = await doorbell.open_door(self._settings.ray_dir, self._answer)
        try:
            await tending.run()
            await asyncio.Event().wait()  # stopped: the door stays open until the root ends this process
        finally:
            door.close()

    async def _answer(self, question: str) -> dict[str, Any]:
        tending = self._there()
        if question == "stop":
            await tending.stop()
            return {"stopped": True, "drained": str(tending.drained or "")}
        if question.startswith(doorbell.RESTART):
            try:
                return {"done": await tending.restart(question.removeprefix(doorbell.RESTART))}
            except PerenneError as error:
                return {"error": str(error), "names": [child.name for child in tending.status().children]}
        if question == doorbell.QUEUES:
            return {"queues": tending.queues()}
        if question == "status":
            return doorbell.status_reply(tending.status())
        return {"pid": os.getpid(), "age_s": time.monotonic() - tending.last_tick, "stopping": tending.stopping.is_set()}

    def _there(self) -> Tending:
        if self._tending is None:
            raise Unavailable(SUPERVISOR, 0.5, self._failure or "it is starting")
        return self._tending

    @ray.method(concurrency_group="go")
    async def go(self, child: str, pid: int) -> Go:
        """May this (re)started shell recover now? Needs no database and no other actor."""
        return self._there().go(child, pid)

    @ray.method(concurrency_group="health")
    async def status(self) -> TreeStatus:
        """The state of every child, as last seen (at most two seconds ago)."""
        return self._there().status()

    @ray.method(concurrency_group="health")
    async def events(self, after: int = 0) -> tuple[SupervisionEvent, ...]:
        """What happened after this number, oldest first; at most the last thousand. Each is told once, however often its cause repeats."""
        return self._there().events.after(after)

    @ray.method(concurrency_group="health")
    async def pulse(self) -> float:
        """Seconds since the last whole look at the children."""
        return time.monotonic() - self._there().last_tick

    @ray.method(concurrency_group="health")
    async def health(self) -> Health:
        age = time.monotonic() - self._there().last_tick
        return Health(name=SUPERVISOR, status="ready", pid=os.getpid(), progress_age_s=age, started_at=self._there().started_at)

    async def stop(self) -> None:
        """End the tree. Returns when every child is gone; the Supervisor itself stays to say so."""
        tending, loop = self._there(), self._loop
        assert loop is not None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(tending.stop(), loop))
