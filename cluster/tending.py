"""The Supervisor's work: keep every child of the tree there and alive. Runs on one event loop in a thread of its own."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from cluster import applications, spawning
from cluster.applied import Applied
from cluster.draining import Drained, drain
from cluster.events import EventLog
from cluster.groups import Escalation, Groups
from cluster.housekeeping import Housekeeping
from cluster.pressure import IDLE_S, Action
from cluster.reasons import health_of, what_works, why_not
from cluster.serving import Serving
from cluster.standing import Standing, known_starts
from cluster.tree import Child, build_tree, spec_hash
from cluster.version import version
from perenne import metric_table as table
from perenne import metrics, names
from perenne.directory import Directory
from perenne.errors import DeadlineExceeded, NotFound, Unavailable
from perenne.messages.health import EventKind, Go, TreeStatus
from perenne.messages.models import ModelState
from perenne.settings import Settings

log = logging.getLogger(__name__)

PING_TIMEOUT_S = 2.0
FIRST_PING_TIMEOUT_S = 0.25  # of one that is being born: others wait for the end of this look before they may start
FIRST_STATE_TIMEOUT_S = 0.5  # of a model that loads, likewise
CONTROL_TIMEOUT_S = 20.0  # one call to the control plane: making an actor, deploying an application
MODEL_LOOK_S = 2.0  # between questions at a model that is ready; at each tick otherwise
STOP_SERVE_S = 12.0
RELIEF_S = 20.0  # giving memory back
HUNG_QUIET_S = 300.0  # one that hangs again within this is no news
CLOSE_S = 3.0  # an owner that was told to close; then for its process to end


class Tending:
    """Tick by tick: look at all children at once, then do what the looks call for."""

    def __init__(self, settings: Settings, directory: Directory) -> None:
        self._settings, self._directory = settings, directory
        now = time.time()
        self._standings = {
            child.name: Standing(child, known_starts(settings.path(), child.name, now, child.intensity.window_s))
            for child in build_tree(settings)
        }
        self.started_at = now
        self.last_tick = time.monotonic()
        self.stopping = threading.Event()
        self._tick_lock = asyncio.Lock()
        self._model_looked: dict[str, float] = {}
        self._applied = Applied(settings)
        self.events = EventLog(settings.path("run", "events.jsonl"))
        limits = settings.supervision
        self._groups = Groups(
            {s.child.in_group for s in self._standings.values()},
            Escalation(hold_s=limits.hold_s, hold_max_s=limits.hold_max_s),
            self._note_of_group,
        )
        self._serving = Serving(settings, self._standings, self._applied, self._groups, self._begin, self._know)
        self._keeping = Housekeeping(settings, self._standings, self.events, self._act)
        self._looking: asyncio.Task[None] | None = None
        self._ending = False
        self.drained: Drained | None = None
        self._busy: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()

    # Asked by others

    def go(self, child: str, pid: int) -> Go:
        """May this shell recover? Its first start waits for what it comes after."""
        standing = self._standings.get(child)
        if standing is None:
            return Go(decision="go")
        self._keeping.know(pid, child)
        now = time.time()
        missing = [name for name in standing.child.after if not self._standings[name].ready_once]
        go = self._ask_group(standing, standing.go(pid, now), now)
        if go.decision == "go" and missing and not standing.ready_once and not self.stopping.is_set():
            return Go(decision="wait", wait_s=0.1, reason=f"waits for {', '.join(missing)}")
        return go

    def _ask_group(self, standing: Standing, go: Go, now: float) -> Go:
        child = standing.child
        if child.kind != "actor" or self.stopping.is_set():
            return go
        asked = self._groups.ask(child.in_group, child.name, standing.starts, child.intensity, go, now)
        if asked is not go and asked.decision != "go":
            standing.show(asked, now)
        return asked

    def status(self) -> TreeStatus:
        seen = [(standing.child, standing.status()) for standing in self._standings.values()]
        held = self._groups.held()
        told_of = [(child, status) for child, status in seen if status.state != "held" or child.in_group not in held]
        reasons = (*held.values(), *why_not(told_of))
        if self._ending:
            reasons = ("it is stopping", *reasons)
        return TreeStatus(
            ready=not reasons,
            children=tuple(status for _, status in seen),
            reasons=reasons,
            version=version(),
            started_at=self.started_at,
            notices=(*self._keeping.notices, *what_works(seen)),
        )

    def queues(self) -> dict[str, int]:
        """What waits or is in hand at each child, as it last said."""
        return {name: standing.queue for name, standing in self._standings.items()}

    def count(self) -> None:
        """Tell how the children are; from the meter's thread."""
        metrics.tell(table.READY, float(self.status().ready))
        for name, standing in self._standings.items():
            seen = standing.status()
            metrics.tell(table.CHILD_READY, float(seen.state == "ready"), name)
            metrics.tell(table.CHILD_QUEUE, standing.queue, name)
            metrics.tell(table.CHILD_RESTARTS, seen.restarts, name)

    async def restart(self, name: str) -> str:
        """End a child, or all of a group, and have it started anew, whatever was held against it. Says what was done; NotFound."""
        members = [s for s in self._standings.values() if name in (s.child.name, s.child.in_group)]
        if not members:
            raise NotFound("child or group", name)
        for standing in members:
            standing.forgive()
            self._groups.release(standing.child.in_group, time.time())
        for standing in reversed(members):
            await self._start_anew(standing)
        return f"started anew: {', '.join(s.child.name for s in members)}"

    # The loop

    async def run(self) -> None:
        """Tend until the stop."""
        await asyncio.to_thread(self._applied.read)
        self._recall(await asyncio.to_thread(spawning.session))
        if any(self._serving.is_other(s.child) for s in self._standings.values() if s.child.kind == "application"):
            self._begin("Serve", self._serving.deploy)
        while not self.stopping.is_set():
            begun = time.monotonic()
            async with self._tick_lock:
                try:
                    await self._tick()
                except Exception:  # one bad tick must not end the tree's keeper
                    log.exception("a tick failed")
            self.last_tick = time.monotonic()
            all_ready = all(s.status().state == "ready" for s in self._standings.values())
            period = self._settings.health_period_s if all_ready else min(0.25, self._settings.health_period_s)
            await asyncio.sleep(max(0.05, period - (time.monotonic() - begun)))

    async def _tick(self) -> None:
        self._restart_groups()
        actors = [s for s in self._standings.values() if s.child.kind == "actor"]
        models = [s for s in self._standings.values() if s.child.name in names.MODELS]
        await asyncio.gather(self._serving.look(), *(self._look(s) for s in actors), *(self._look_at_model(s) for s in models))
        self._groups.look(time.time(), self._is_well)
        if self._looking is None or self._looking.done():  # beside the tick: a disk that hangs must not hold it up
            self._looking = asyncio.create_task(self._keeping.look(self._ending))

    def _recall(self, session: str) -> None:
        """Go on from where an earlier Supervisor of this run was."""
        events = self.events.after(0)
        if not any(event.kind == "started" and event.subject == session for event in events):
            self.events.note("started", session, f"Perenne {version()} started")
        self._groups.recall(events)

    def _is_well(self, group: str) -> bool:
        return all(s.state in ("ready", "degraded") for s in self._standings.values() if s.child.in_group == group)

    def _restart_groups(self) -> None:
        while self._groups.orders:
            group = self._groups.orders.popleft()
            self._begin(f"group {group}", partial(self._restart_group, group))

    def _restart_group(self, group: str) -> None:
        """End those that run; who waits for its go is new already."""
        members = [s for s in self._standings.values() if s.child.in_group == group]
        try:
            for standing in reversed(members):
                if standing.child.kind == "application":
                    applications.end_replicas(standing.child.name)
                elif standing.state not in ("waiting", "held", "starting", "dead"):
                    self._replace(standing)
        finally:
            for standing in members:
                standing.forgive()
            self._groups.restarted(group)

    def _act(self, action: Action) -> None:
        """What a shortage calls for, beside the tick."""
        standing = self._standings.get(action.name)
        if standing is None:
            return
        if action.what == "replace":
            self._later(self._start_anew(standing))
        elif action.what == "leave":
            self._later(self._directory.call(action.name, "leave", timeout_s=RELIEF_S, idle_s=IDLE_S))
        elif standing.child.kind == "actor":
            self._later(self._directory.call(action.name, "relieve", timeout_s=RELIEF_S))

    def _later(self, work: Coroutine[Any, Any, Any]) -> None:
        async def quietly() -> None:
            try:
                await work
            except Exception as error:
                log.info("not done: %s", error)

        held = asyncio.get_running_loop().create_task(quietly())
        self._background.add(held)
        held.add_done_callback(self._background.discard)

    async def _start_anew(self, standing: Standing) -> None:
        """Let it put its things in order, then end its process; Ray or Serve starts the next."""
        child = standing.child
        self._keeping.expected.add(standing.pid)
        if child.kind == "application":
            await asyncio.to_thread(applications.end_replicas, child.name)
            return
        await self._close(child)
        await asyncio.to_thread(self._replace, standing)

    def _begin(self, key: str, work: Callable[[], Any]) -> None:
        """Run blocking work in a thread, at most once at a time under one key."""
        if key in self._busy or self.stopping.is_set():
            return
        self._busy.add(key)

        async def run() -> None:
            try:
                async with asyncio.timeout(CONTROL_TIMEOUT_S * 3):
                    await asyncio.to_thread(work)
            except Exception as error:
                log.warning("%s: %s: %s", key, type(error).__name__, error)
            finally:
                self._busy.discard(key)

        held = asyncio.get_running_loop().create_task(run())
        self._background.add(held)
        held.add_done_callback(self._background.discard)

    # Actors

    async def _look(self, standing: Standing) -> None:
        name = standing.child.name
        if name in self._busy:
            return
        if self._serving.is_other(standing.child):
            self._begin(name, lambda: self._ensure(standing))
            return
        try:
            within_s = PING_TIMEOUT_S if standing.answered_once else FIRST_PING_TIMEOUT_S
            health = await self._directory.call(name, "health", timeout_s=within_s)
        except DeadlineExceeded:
            standing.silent(time.time())
        except Unavailable as error:
            standing.away("starting", error.reason, time.time())
            if "Died" in error.reason or "not running" in error.reason:
                self._begin(name, lambda: self._ensure(standing))
        except Exception as error:
            standing.away("degraded", f"health: {error}", time.time())
        else:
            standing.answered(health, time.time())
        reason = standing.hung(time.time())
        if reason:
            self._begin(name, lambda: self._end_hung(standing, reason))

    def _end_hung(self, standing: Standing, reason: str) -> None:
        """Keep its last words, tell of it, end it."""
        self._note_hang(standing, reason)
        self._replace(standing)

    def _note_hang(self, standing: Standing, reason: str) -> None:
        name = standing.child.name
        record = self._keeping.record_hang(name, standing.pid, reason)
        self.events.note("child_hung", name, f"{name} {reason}: it is replaced", quiet_s=HUNG_QUIET_S, record=record)

    def _note_of_group(self, kind: EventKind, subject: str, detail: str = "", *, until: float = 0.0) -> None:
        """What is told of a held group names the record of the last crash in it."""
        record = self._keeping.last_record_of(s.child.name for s in self._standings.values() if s.child.in_group == subject)
        self.events.note(kind, subject, detail, until=until, record=record if kind == "group_held" else "")

    def _know(self, pid: int, name: str) -> None:
        self._keeping.know(pid, name)

    def _ensure(self, standing: Standing) -> None:
        """Find or make the actor; one that runs other code or another configuration is ended first."""
        child, wanted = standing.child, spec_hash(standing.child, self._settings)
        held = self._applied.hash(child.name)
        try:
            if held is not None and held != wanted:
                spawning.end(child.name, restart=False)
            spawning.make(child, self._settings)
        except Exception as error:
            standing.away("dead", f"it could not be made: {error}", time.time())
            time.sleep(1.0)
            raise
        self._applied.note(child.name, wanted)

    def _replace(self, standing: Standing) -> None:
        self._keeping.expected.add(standing.pid)
        spawning.end(standing.child.name, restart=True)
        standing.reborn(time.time())

    # Models

    async def _look_at_model(self, standing: Standing) -> None:
        name, now = standing.child.name, time.monotonic()
        rested = now - self._model_looked.get(name, 0.0) >= MODEL_LOOK_S
        if not self._serving.is_running(name) or (standing.status().state == "ready" and not rested):
            return
        self._model_looked[name] = now
        try:
            within_s = PING_TIMEOUT_S if standing.ready_once else FIRST_STATE_TIMEOUT_S
            standing.answered(health_of(await self._directory.call(name, "state", timeout_s=within_s)), time.time())
        except DeadlineExceeded as error:
            if standing.is_loaded:  # one that loads holds the interpreter for seconds
                standing.silent(time.time())
            else:
                standing.away("starting" if not standing.ready_once else "degraded", str(error), time.time())
        except Exception as error:
            standing.away("starting" if not standing.ready_once else "degraded", str(error), time.time())
        reason = standing.hung(time.time())
        if reason and name not in self._busy:
            self._busy.add(name)
            self._later(self._replace_model(standing, reason))

    async def _replace_model(self, standing: Standing, reason: str) -> None:
        """End the replica of a model that hangs, unless it answers now: it may have been the control plane that did not."""
        name = standing.child.name
        try:
            with contextlib.suppress(Exception):
                state: ModelState = await self._directory.call(name, "state", timeout_s=PING_TIMEOUT_S)
                standing.answered(health_of(state), time.time())
                if standing.hung(time.time()) is None:
                    return
            await asyncio.to_thread(self._note_hang, standing, reason)
            async with asyncio.timeout(CONTROL_TIMEOUT_S):
                await asyncio.to_thread(applications.end_replicas, name)
            standing.reborn(time.time())
        finally:
            self._busy.discard(name)

    # The end

    async def stop(self) -> None:
        """End the tree in the opposite order of its start. Idempotent; what was acknowledged is on disk already."""
        if self._ending:
            return
        self._ending = True
        self.drained = await drain(self._directory, self._settings.supervision.drain_s)
        self.events.note("stopped", "Perenne", str(self.drained))
        self.stopping.set()
        async with self._tick_lock:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_SERVE_S):
                    await asyncio.to_thread(applications.shut_down)
            for standing in reversed(self._standings.values()):
                if standing.child.kind == "actor":
                    await self._end(standing.child)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self.events.flush)

    async def _close(self, child: Child) -> None:
        if hasattr(spawning.load(child.code), "close"):
            with contextlib.suppress(Exception):
                await self._directory.call(child.name, "close", timeout_s=CLOSE_S)

    async def _end(self, child: Child) -> None:
        await self._close(child)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.to_thread(spawning.end, child.name, restart=False)
