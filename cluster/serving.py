"""Serve's applications, looked after as the actors are: handed over, seen, their starts counted, and taken back while their group is held.

Serve starts a replica that died by itself and without limit, and knows no shell that asks for `go`. So a start is a replica that was not there
before, or an application that has to be handed over again; and one whose group is held is taken out of Serve until it is tried again."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster import applications
from cluster.applied import Applied
from cluster.groups import Groups
from cluster.processes import serve_replicas
from cluster.standing import Standing
from cluster.tree import Child, spec_hash
from perenne import names
from perenne.messages.health import Go
from perenne.settings import Settings

log = logging.getLogger(__name__)

LOOK_S, FIRST_LOOK_S = 3.0, 0.5  # between looks at Serve: when all is well, and otherwise
LOOK_WITHIN_S = 4.0
KNOWN_WITHIN_S, KNOW_AGAIN_S = 10.0, 2.0  # how long after its birth a replica's process is looked for, and how often
ANSWER_WITHIN_S = 2.0  # of the edge's port
DEPLOY_AGAIN_S = 15.0  # an application that is missing or failed to deploy is handed to Serve again after this
DEPLOY_FIRST_S = 60.0  # Serve was never seen with any of them: its start takes as long as the machine is slow

Begin = Callable[[str, Callable[[], Any]], None]


@dataclass(slots=True)
class Replicas:
    """Those of one application since it was handed over. The first `wanted` are its start; each one more is a start of its own."""

    wanted: int
    there: frozenset[str] = frozenset()
    met: int = 0

    def meet(self, now_there: frozenset[str]) -> int:
        """How many starts these are."""
        new = len(now_there - self.there)
        before, self.met, self.there = self.met, self.met + new, now_there
        return max(0, self.met - self.wanted) - max(0, before - self.wanted)


@dataclass(slots=True)
class Seen:
    """What Serve last said of each application: state and message."""

    states: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    at: float = 0.0


class Serving:
    """`begin` runs blocking work in a thread, at most once at a time under one key; `know` is told whose a process is."""

    def __init__(
        self,
        settings: Settings,
        standings: Mapping[str, Standing],
        applied: Applied,
        groups: Groups,
        begin: Begin,
        know: Callable[[int, str], None],
    ) -> None:
        self._settings, self._applied, self._groups, self._begin = settings, applied, groups, begin
        self._standings = {name: standing for name, standing in standings.items() if standing.child.kind == "application"}
        self._replicas = {name: Replicas(self._wanted(name)) for name in self._standings}
        self._handed: set[str] = set()  # those that this Supervisor handed over, which may be seen missing
        self._taken: set[str] = set()  # those that were taken out of Serve because their group is held
        self._know, self._know_until, self._knew_at = know, 0.0, 0.0
        self.seen = Seen()

    def _wanted(self, name: str) -> int:
        return self._settings.edge.replicas if name == names.EDGE else 1

    def is_other(self, child: Child) -> bool:
        """Whether what runs, if anything, is of another code or configuration."""
        return self._applied.hash(child.name) != spec_hash(child, self._settings)

    def is_running(self, name: str) -> bool:
        return self.seen.states.get(name, ("", ""))[0] == "RUNNING"

    def deploy(self) -> None:
        """Hand over what is missing, failed or other; blocks. A second time of the same counts as a start."""
        seen = applications.look() if self._applied.serve_begun else {}
        held = self._groups.held()
        missing = [s.child for s in self._standings.values() if self.is_other(s.child) or not _is_up(seen.get(s.child.name))]
        new = [child for child in missing if child.in_group not in held]
        for child in new:
            if child.name in self._handed and not self.is_other(child):
                self._standings[child.name].started(time.time())
            self._replicas[child.name] = Replicas(self._wanted(child.name), self._replicas[child.name].there)
        self._handed.update(child.name for child in new)
        self._taken.difference_update(child.name for child in new)
        self._applied.note_deploying({})
        try:
            refused = dict(applications.deploy(new, self._settings)) if new else {}
        except Exception as error:
            refused = dict.fromkeys(new, error)
        for child in new:
            if child not in refused:
                self._applied.note(child.name, spec_hash(child, self._settings))
                continue
            log.error("%s could not be deployed", child.name, exc_info=refused[child])
            self._standings[child.name].away("dead", f"it could not be deployed: {refused[child]}", time.time())

    async def look(self) -> None:
        """See how each is, and do what that calls for."""
        quiet = all(state == "RUNNING" for state, _ in self.seen.states.values()) and self.seen.states
        if time.monotonic() - self.seen.at < (LOOK_S if quiet else FIRST_LOOK_S) or not self._applied.serve_begun:
            return
        self.seen.at = time.monotonic()
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                self.seen.states = await asyncio.to_thread(applications.look)
                replicas = await asyncio.to_thread(applications.replicas)
        except Exception as error:
            log.warning("Serve did not say how it is: %s", error)
            return
        await self._know_processes(replicas)
        missing = False
        for name, standing in self._standings.items():
            for _ in range(self._replicas[name].meet(replicas.get(name, frozenset()))):
                standing.started(time.time())
            held = self._ask(standing)
            if held is not None:
                self._hold(standing, held, len(replicas.get(name, ())))
            elif not await self._see(standing):
                missing = True
        patience_s = DEPLOY_AGAIN_S if self.seen.states else DEPLOY_FIRST_S
        if missing and (time.monotonic() - self._applied.deployed_at > patience_s or self._let_off()):
            self._begin("Serve", self.deploy)

    async def _know_processes(self, replicas: Mapping[str, frozenset[str]]) -> None:
        """Whose each process is, so that its crash is told by name. Looked for while there are new ones: a process gets its name late."""
        now = time.monotonic()
        new = any(replicas.get(name, frozenset()) - self._replicas[name].there for name in self._standings)
        if new or any(state != "RUNNING" for state, _ in self.seen.states.values()):
            self._know_until = now + KNOWN_WITHIN_S
        if now < self._know_until and now - self._knew_at >= KNOW_AGAIN_S:
            self._knew_at = now
            for pid, name in (await asyncio.to_thread(serve_replicas, self._settings.ray_dir)).items():
                self._know(pid, name)

    def _let_off(self) -> bool:
        """Whether one that was taken out is not held any more: it is handed over now."""
        held = self._groups.held()
        return any(self._standings[name].child.in_group not in held for name in self._taken)

    def _ask(self, standing: Standing) -> Go | None:
        """Why it may not run, if it may not."""
        child = standing.child
        go = self._groups.ask(child.in_group, child.name, standing.starts, child.intensity, Go(decision="go"), time.time())
        return go if go.decision == "held" else None

    def _hold(self, standing: Standing, held: Go, replicas: int) -> None:
        """Take it out of Serve, which would start it again and again. Where other replicas of it are up they stay up (ADR 19)."""
        name = standing.child.name
        if replicas >= 2:
            standing.away("degraded", held.reason, time.time())
            return
        standing.show(held, time.time())
        if name not in self._taken:
            self._taken.add(name)
            self._begin(f"hold {name}", lambda: applications.take_out(name))

    async def _see(self, standing: Standing) -> bool:
        """Note the application's state; False when it must be handed to Serve again."""
        name, now = standing.child.name, time.time()
        state, message = self.seen.states.get(name, ("NOT_STARTED", "not deployed yet"))
        if not _is_up((state, message)):
            standing.away("dead" if state == "DEPLOY_FAILED" else "starting", message[:300], now)
            return False
        if state != "RUNNING":
            standing.away("starting" if state == "DEPLOYING" else "degraded", message[:300], now)
        elif standing.child.route is not None:
            if await applications.answers(self._settings.host, self._settings.port, ANSWER_WITHIN_S):
                standing.away("ready", "", now)
            else:
                standing.away("degraded", f"port {self._settings.port} does not answer", now)
        return True


def _is_up(seen: tuple[str, str] | None) -> bool:
    return seen is not None and seen[0] not in ("NOT_STARTED", "DEPLOY_FAILED", "DELETING")
