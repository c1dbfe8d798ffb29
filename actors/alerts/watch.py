"""The AlertCenter's work, without Ray: looks at everything in turn, has the core say what it means, and writes that down."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from actors.alerts.centre import Action, Centre, Escalate, Policy, Raise
from actors.alerts.happenings import OF_EVENTS, Happenings, Memory
from actors.alerts.rules import Rule
from actors.alerts.security import KEYS_WINDOW_S, OF_KEYS, edge_signal, key_signals
from actors.alerts.sources import (
    JOBS_WINDOW_S,
    OF_BACKUPS,
    OF_JOBS,
    OF_MODELS,
    OF_PC,
    OF_TREE,
    Restarts,
    backup_signals,
    job_signals,
    machine_memory,
    model_signals,
    pc_signals,
    tree_signals,
)
from actors.alerts.spool import Spool
from actors.alerts.witnesses import Witnesses
from perenne import names
from perenne.clock import Clock
from perenne.directory import Directory
from perenne.errors import Busy, DeadlineExceeded, PerenneError, StorageFailed, Unavailable
from perenne.ids import new_id
from perenne.messages.alert_commands import EscalateAlert, ForgetAlerts, Pace, RaiseAlert, ResolveAlert, SummarizeHeld
from perenne.messages.alerts import Alert, JobFigures, Signal
from perenne.messages.commands import OWNER, SYSTEM_USER, Command
from perenne.messages.health import TreeStatus
from perenne.messages.models import ModelState
from perenne.messages.records import Changes, Key
from perenne.schedules import read_schedules
from perenne.settings import Settings
from perenne.store import Store

log = logging.getLogger(__name__)

TICK_S = 3.0
KEPT_S = 90 * 86_400.0  # what is over is forgotten after this
TOLD_MAX = 256  # signals that one `observe` may bring
_ASK_S = 3.0
_WRITE_S = 10.0
_AWAY = (Unavailable, DeadlineExceeded, Busy, StorageFailed)  # the database's trouble, not the command's

Look = Callable[[], Awaitable[tuple[Signal, ...]]]


@dataclass(slots=True)
class Source:
    """Looked at every `period_s`, whatever the clock is set to; `covers`: the signals of which it tells all that there are."""

    name: str
    look: Look
    period_s: float
    covers: tuple[str, ...]
    next_at: float = field(default=-math.inf)


class Watch:
    """`run` until cancelled."""

    def __init__(self, settings: Settings, directory: Directory, clock: Clock, rules: tuple[Rule, ...]) -> None:
        alerts = settings.alerts
        self._settings, self._directory, self._clock = settings, directory, clock
        self._store = Store(directory, settings.store.readers)
        self._pace = Pace(
            wait_s=alerts.wait_s,
            interval_s=alerts.interval_s,
            window_s=3_600.0,
            per_fingerprint=alerts.per_hour,
            in_all=alerts.all_per_hour,
        )
        self._centre = Centre(rules, Policy(escalate_after_s=alerts.escalate_after_s, escalations=alerts.escalations))
        self._spool = Spool(settings.path("alerts", "waiting.json"))
        self._restarts = Restarts()
        self._witnesses = Witnesses()
        hold_s = max((rule.for_s for rule in rules if rule.signal in (*OF_EVENTS, "home.restored")), default=0.0)
        self._happenings = Happenings(Memory(settings.path("alerts", "heard.json")), hold_s)
        self._models = tuple(role for role in names.MODELS if role != names.RERANKING or settings.reranking is not None)
        self._open: tuple[Alert, ...] = ()
        self._house_at = -math.inf
        self.progress_at = time.monotonic()
        self.away: str | None = None
        self.sources = (
            Source("tree", self._tree, TICK_S, (*OF_TREE, "supervisor.away")),
            Source("events", self._events, TICK_S, ()),
            Source("pc", self._pc, 10.0, OF_PC),
            Source("jobs", self._jobs, 30.0, OF_JOBS),
            Source("backups", self._backups, 30.0, OF_BACKUPS),
            Source("models", self._model_states, 15.0, OF_MODELS),
            Source("keys", self._keys, 30.0, (*OF_KEYS, "edge.open")),
        )

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            await self.tick()
            self.progress_at = time.monotonic()
            await asyncio.sleep(max(0.1, TICK_S - (self.progress_at - began)))

    def observe(self, signals: tuple[Signal, ...], source: str = "") -> None:
        """What others saw; bounded, and unknown signals are passed over. `source`: one of several that see a part of the same each."""
        whole = self._witnesses.merged(source, signals[:TOLD_MAX], self._clock.monotonic())
        self._centre.hear(whole, self._clock.now())

    @property
    def waiting(self) -> int:
        """Alerts that wait for the database."""
        return len(self._spool.entries())

    async def tick(self) -> None:
        """One look at what is due, and what follows from it."""
        now = self._clock.monotonic()
        due = [source for source in self.sources if source.next_at <= now]
        await asyncio.gather(*(self._look(source, now) for source in due), self._database())
        # What begins is written before what ends it is heard; while the database is away neither could be.
        if self.away is None and (step := self._happenings.next_step(now)) is not None:
            self._centre.hear(step.signals, self._clock.now(), covers=step.covers)
        if await self._settle() and self._happenings.is_settling:
            await asyncio.to_thread(self._happenings.settle, now)

    async def _look(self, source: Source, now: float) -> None:
        source.next_at = now + source.period_s
        try:
            signals = await source.look()
        except PerenneError as error:  # not known is neither good nor bad: what fired fires on
            log.debug("%s can't be looked at: %s", source.name, error)
            return
        self._centre.hear(signals, self._clock.now(), covers=source.covers)

    # Sources

    async def _tree(self) -> tuple[Signal, ...]:
        try:
            status: TreeStatus = await self._directory.call(names.SUPERVISOR, "status", timeout_s=_ASK_S)
        except PerenneError as error:
            self._centre.hear((Signal(name="supervisor.away", value=1.0, detail=str(error)),), self._clock.now())
            raise
        away = Signal(name="supervisor.away", value=0.0)
        return (*tree_signals(status, self._restarts, self._clock.monotonic()), away)

    async def _events(self) -> tuple[Signal, ...]:
        """What happened is heard step by step, one a tick."""
        await self._happenings.look(self._directory, self._clock.now())
        return ()

    async def _keys(self) -> tuple[Signal, ...]:
        now = self._clock.now()
        keys: tuple[Key, ...] = await self._store.read("recent_keys", deadline_s=_ASK_S, since=now - KEYS_WINDOW_S)
        changes: Changes = await self._store.read("changes", deadline_s=_ASK_S, user_id=OWNER)
        if self._happenings.is_restored(changes.origin, self._clock.monotonic()):
            self._centre.hear((Signal(name="home.restored", value=1.0),), now)
        return (*key_signals(tuple(keys), now), edge_signal(self._settings))

    async def _pc(self) -> tuple[Signal, ...]:
        return await asyncio.to_thread(pc_signals, self._settings.path(), self._settings.disk, machine_memory)

    async def _backups(self) -> tuple[Signal, ...]:
        schedules = await asyncio.to_thread(read_schedules, self._settings.home)
        return backup_signals(schedules, self._clock.now())

    async def _jobs(self) -> tuple[Signal, ...]:
        now = self._clock.now()
        figures: JobFigures = await self._store.read("job_figures", deadline_s=_ASK_S, now=now, since=now - JOBS_WINDOW_S)
        return job_signals(figures, now)

    async def _model_states(self) -> tuple[Signal, ...]:
        async def state(role: str) -> ModelState | None:
            with contextlib.suppress(PerenneError):  # an application that is away is the tree's to tell of
                return await self._directory.call(role, "state", timeout_s=_ASK_S)
            return None

        states = await asyncio.gather(*(state(role) for role in self._models))
        if any(each is None for each in states):
            self._centre.hear(model_signals(tuple(each for each in states if each is not None)), self._clock.now())
            raise Unavailable("a model", _ASK_S, "it did not say where it is")
        return model_signals(tuple(each for each in states if each is not None))

    # The database

    async def _database(self) -> None:
        """Whether it can be read and written; what fires according to it."""
        try:
            self._open, _ = await asyncio.gather(
                self._store.read("open_alerts", deadline_s=_ASK_S),
                self._directory.call(names.STORE_WRITER, "head", timeout_s=_ASK_S),
            )
            self.away = None
        except PerenneError as error:
            self.away = str(error)
        away = Signal(name="database.away", value=0.0 if self.away is None else 1.0, detail=self.away or "")
        self._centre.hear((away,), self._clock.now())

    async def _settle(self) -> bool:
        """Write what follows from all that was heard. Whether nothing of it is left to be written."""
        if self.away is None and self._spool.entries():
            await self._hand_in()
        wrote, left = False, False
        for action in self._centre.plan(self._open, self._clock.now()):
            if self.away is None:
                try:
                    await self._store.write(self._command(action), deadline_s=_WRITE_S)
                    wrote = True
                    continue
                except _AWAY as error:
                    self.away = str(error)
                except PerenneError:
                    log.exception("an alert could not be written")
                    left = True
                    continue
            if isinstance(action, Raise) and action.severity == "critical":
                await asyncio.to_thread(self._spool.add, action)
        if self.away is None:
            wrote = await self._keep_house() or wrote
        if wrote:
            await self._wake()
        return self.away is None and not left

    async def _hand_in(self) -> None:
        """What was kept while the database was away. Each has its id, so that one that was handed in before is not doubled."""
        try:
            for kept in self._spool.entries():
                command = self._command(kept, f"kept-{kept.alert_id}")
                (outcome,) = await self._store.submit(command, deadline_s=_WRITE_S)
                if isinstance(outcome.error, _AWAY):
                    raise outcome.error
                if outcome.error is not None:  # nothing that another try would change
                    log.error("an alert that was kept could not be handed in: %s", outcome.error)
                await asyncio.to_thread(self._spool.remove, kept)
            self._open = await self._store.read("open_alerts", deadline_s=_ASK_S)
        except _AWAY as error:
            self.away = str(error)

    def _command(self, action: Action, command_id: str | None = None) -> Command:
        who: Any = {"command_id": command_id or new_id("cmd"), "user_id": SYSTEM_USER}
        if isinstance(action, Raise):
            return RaiseAlert(
                **who,
                alert_id=action.alert_id,
                fingerprint=action.fingerprint,
                severity=action.severity,
                event=action.event,
                title=action.title,
                text=action.text,
                advice=action.advice,
                labels=action.labels,
                group=action.group,
                inhibited_by=action.inhibited_by,
                first_seen=action.first_seen,
                pace=self._pace,
            )
        if isinstance(action, Escalate):
            return EscalateAlert(**who, alert_id=action.alert_id, level=action.level, pace=self._pace)
        return ResolveAlert(**who, alert_id=action.alert_id, text=action.text, pace=self._pace)

    async def _keep_house(self) -> bool:
        """Once a minute: a summary of what was held back; and what is over for long is forgotten."""
        now = self._clock.now()
        if self._clock.monotonic() < self._house_at:
            return False
        self._house_at = self._clock.monotonic() + 60.0
        who = {"command_id": new_id("cmd"), "user_id": SYSTEM_USER}
        try:
            if await self._store.read("held_back", deadline_s=_ASK_S):
                await self._store.write(SummarizeHeld(**who, pace=self._pace), deadline_s=_WRITE_S)
                return True
            if await self._store.read("alerts_over", deadline_s=_ASK_S, before=now - KEPT_S):
                await self._store.write(ForgetAlerts(**who, before=now - KEPT_S), deadline_s=_WRITE_S)
        except PerenneError as error:
            log.info("alerts were not put in order: %s", error)
        return False

    async def _wake(self) -> None:
        """Whoever sends looks by itself too; this saves the wait."""
        with contextlib.suppress(PerenneError):
            await self._directory.call(names.NOTIFIER, "wake", timeout_s=1.0)
