"""What is observed, as signals: from the Supervisor's status, the PC, jobs, models. Pure, but for what measures the PC."""

from collections import deque
from collections.abc import Callable
from pathlib import Path

from perenne import names
from perenne.messages.alerts import JobFigures, Signal
from perenne.messages.backups import Schedule
from perenne.messages.health import ChildStatus, TreeStatus
from perenne.messages.models import ModelState
from perenne.schedules import BEFORE
from perenne.settings import DiskSettings

RESTARTS_WINDOW_S = 600.0
JOBS_WINDOW_S = 3_600.0  # failures within it count

OF_TREE = ("child.held", "child.hung", "child.down", "child.degraded", "child.restarts")
OF_PC = ("disk.room", "memory.free_share")
OF_JOBS = ("jobs.failed", "jobs.stuck_s")
OF_BACKUPS = ("backup.failed", "backup.age_s", "drill.failed", "migration.unguarded", "log.failed")
OF_MODELS = ("model.failed", "model.missing")

_DOWN = ("dead", "starting", "recovering", "waiting")


class Restarts:
    """How often each child was started again within the window."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def within(self, child: ChildStatus, now: float) -> int:
        seen = self._seen.setdefault(child.name, deque())
        if seen and seen[-1][1] > child.restarts:  # the Supervisor counts anew
            seen.clear()
        if not seen or seen[-1][1] != child.restarts:
            seen.append((now, child.restarts))
        while len(seen) > 1 and seen[1][0] < now - RESTARTS_WINDOW_S:
            seen.popleft()
        old = seen[0][0] < now - RESTARTS_WINDOW_S
        return 0 if old and len(seen) == 1 else child.restarts - seen[0][1]


def tree_signals(status: TreeStatus, restarts: Restarts, now: float) -> tuple[Signal, ...]:
    """A model that is not ready is told of by its own state, not as a child that works in part. `now` by a clock that is never set."""
    found: list[Signal] = []
    for child in status.children:
        states = {
            "child.held": child.state == "held",
            "child.hung": child.state == "hung",
            "child.down": child.state in _DOWN,
            "child.degraded": child.state == "degraded" and child.name not in names.MODELS,
        }
        for name, holds in states.items():
            found.append(Signal(name=name, subject=child.name, value=float(holds), detail=child.detail if holds else ""))
        found.append(Signal(name="child.restarts", subject=child.name, value=restarts.within(child, now), detail=child.detail))
    return tuple(found)


def pc_signals(home: Path, settings: DiskSettings, memory: Callable[[], tuple[int, int]]) -> tuple[Signal, ...]:
    """Room of the home's disk, in reserves; and the share of memory that is free (`memory`: free and all bytes)."""
    from perenne.room import measured, reserve_of

    free, total = measured(home)
    reserve = reserve_of(settings, total)
    free_memory, all_memory = memory()
    return (
        Signal(
            name="disk.room",
            value=free / max(1, reserve),
            detail=f"{free >> 20:,} MB are free; {reserve >> 20:,} MB stay in reserve.",
        ),
        Signal(
            name="memory.free_share",
            value=free_memory / max(1, all_memory),
            detail=f"{free_memory >> 20:,} of {all_memory >> 20:,} MB.",
        ),
    )


def machine_memory() -> tuple[int, int]:
    """Free and all bytes of memory."""
    import psutil

    facts = psutil.virtual_memory()
    return facts.available, facts.total


def job_signals(figures: JobFigures, now: float) -> tuple[Signal, ...]:
    stuck_s = 0.0 if figures.waiting_since is None else max(0.0, now - figures.waiting_since)
    many = "One job waits." if figures.open == 1 else f"{figures.open} jobs wait."
    return (
        Signal(name="jobs.failed", value=figures.failed, detail=figures.reason or ""),
        Signal(name="jobs.stuck_s", value=stuck_s, detail=many),
    )


def backup_signals(schedules: tuple[Schedule, ...], now: float) -> tuple[Signal, ...]:
    """Of what is done by the clock, how backups and drills ended last; the age of a backup only where they are made by the clock. A migration
    without a backup is news until there is a good one."""
    found: list[Signal] = []
    good = max((each.good.ended_at for each in schedules if each.name == "backup" and each.good is not None), default=0.0)
    for each in schedules:
        last = each.last
        if each.name in ("backup", "drill", "log") and last is not None:
            detail = "" if last.ok else " ".join([last.detail, *last.faults])
            found.append(Signal(name=f"{each.name}.failed", value=float(not last.ok), detail=detail))
        if each.name == BEFORE and last is not None:
            unguarded = not last.ok and good <= last.ended_at
            found.append(Signal(name="migration.unguarded", value=float(unguarded), detail=last.detail if unguarded else ""))
        if each.name == "backup" and each.cron and each.good is not None:
            found.append(Signal(name="backup.age_s", value=max(0.0, now - each.good.ended_at)))
    return tuple(found)


def model_signals(states: tuple[ModelState, ...]) -> tuple[Signal, ...]:
    found: list[Signal] = []
    for state in states:
        missing = state.phase in ("missing", "downloading")
        for name, holds in (("model.failed", state.phase == "failed"), ("model.missing", missing)):
            detail = f"{state.model_id}: {state.detail}".removesuffix(": ") if holds else ""
            found.append(Signal(name=name, subject=state.role, value=float(holds), detail=detail))
    return tuple(found)
