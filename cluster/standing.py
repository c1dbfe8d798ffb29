"""What the Supervisor knows of one child. Asked and told from several threads, so each method holds the lock for a moment."""

import json
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.restarts import Sight, decide, hung, recent
from cluster.tree import Child
from perenne.messages.health import ChildState, ChildStatus, Go, Health


@dataclass(slots=True)
class _Facts:
    starts: tuple[float, ...]
    sight: Sight
    pid: int = 0
    restarts: int = 0
    detail: str = ""
    since: float = 0.0
    ready_once: bool = False


class Standing:
    """One child's starts and latest sight."""

    def __init__(self, child: Child, starts: tuple[float, ...] = ()) -> None:
        self.child = child
        now = time.time()
        self._facts = _Facts(starts=starts, sight=Sight(state="starting", born_at=now), since=now)
        self._loaded = False
        self._lock = threading.Lock()

    def go(self, pid: int, now: float) -> Go:
        """A shell with this process id asks whether it may recover."""
        with self._lock:
            self._met(pid, now)
            go = decide(self._facts.starts, now, self.child.intensity, seed=pid)
            if go.decision != "go":
                self._show("held" if go.decision == "held" else "waiting", go.reason, now)
            return go

    def started(self, now: float) -> None:
        """A replica of this application was started anew, or it was handed over again."""
        with self._lock:
            self._facts.restarts += 1
            self._facts.starts = (*recent(self._facts.starts, now, self.child.intensity.window_s), now)

    @property
    def starts(self) -> tuple[float, ...]:
        return self._facts.starts

    def show(self, go: Go, now: float) -> None:
        """Its shell was told to wait, for a reason that others know."""
        with self._lock:
            self._show("held" if go.decision == "held" else "waiting", go.reason, now)

    def forgive(self) -> None:
        """Its starts so far do not count any more."""
        with self._lock:
            self._facts.starts = ()

    def _met(self, pid: int, now: float) -> None:
        facts = self._facts
        if pid == facts.pid:
            return
        if self.child.kind != "application":  # whose starts Serve tells of
            if facts.pid:
                facts.restarts += 1
            facts.starts = (*recent(facts.starts, now, self.child.intensity.window_s), now)
        facts.pid = pid
        facts.sight = replace(facts.sight, born_at=now, answered=False, unanswered=0)

    def _show(self, state: ChildState, detail: str, now: float) -> None:
        facts = self._facts
        if state != facts.sight.state:
            facts.since = now
        facts.sight = replace(facts.sight, state=state)
        facts.detail = detail
        facts.ready_once = facts.ready_once or state in ("ready", "degraded")

    def answered(self, health: Health, now: float) -> None:
        with self._lock:
            self._met(health.pid, now)
            self._loaded = health.status == "ready" and not health.detail
            self._facts.sight = replace(
                self._facts.sight,
                answered=True,
                unanswered=0,
                queue=health.queue,
                progress_age_s=health.progress_age_s,
            )
            self._show(health.status, health.detail, now)

    def silent(self, now: float) -> None:
        """A ping went out and no answer came in time."""
        with self._lock:
            sight = self._facts.sight
            self._facts.sight = replace(sight, unanswered=sight.unanswered + 1)
            if sight.answered:
                self._show("hung", f"no answer to {sight.unanswered + 1} pings", now)

    def away(self, state: ChildState, detail: str, now: float) -> None:
        """What others say of it: the control plane, or Serve."""
        with self._lock:
            self._facts.sight = replace(self._facts.sight, unanswered=0)
            self._show(state, detail, now)

    def reborn(self, now: float) -> None:
        """Its end was ordered: what comes next is a new process."""
        with self._lock:
            self._facts.sight = replace(self._facts.sight, born_at=now, answered=False, unanswered=0)
            self._show("starting", self._facts.detail, now)

    def hung(self, now: float) -> str | None:
        with self._lock:
            return hung(self._facts.sight, now, self.child.patience)

    @property
    def ready_once(self) -> bool:
        return self._facts.ready_once

    @property
    def answered_once(self) -> bool:
        """Whether this process, not one before it, has answered a ping."""
        return self._facts.sight.answered

    @property
    def is_loaded(self) -> bool:
        """Of a model: its engine was there when it last answered."""
        return self._loaded

    @property
    def queue(self) -> int:
        return self._facts.sight.queue

    @property
    def state(self) -> ChildState:
        return self._facts.sight.state

    @property
    def pid(self) -> int:
        return self._facts.pid

    def status(self) -> ChildStatus:
        with self._lock:
            facts = self._facts
            return ChildStatus(
                name=self.child.name,
                state=facts.sight.state,
                pid=facts.pid,
                restarts=facts.restarts,
                detail=facts.detail,
                since=facts.since,
                kind=self.child.kind,
            )


def known_starts(home: Path, name: str, now: float, window_s: float) -> tuple[float, ...]:
    """The starts that the child's own shell wrote down: a Supervisor that was restarted goes on counting from there."""
    try:
        starts = tuple(float(start) for start in json.loads((home / "run" / "starts" / f"{name}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return ()
    return recent(starts, now, window_s)
