"""When backups and drills are made: by the clock, or because somebody asks; how each ended is kept (`perenne.schedules`)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from actors.backups.keeper import Keeper
from perenne.clock import Clock, SystemClock
from perenne.errors import Busy, PerenneError
from perenne.messages.backups import Schedule, ScheduleResult
from perenne.schedules import next_time, read_schedule, write_schedule
from perenne.settings import Settings

log = logging.getLogger(__name__)

BACKUP, DRILL, VERIFY = "backup", "drill", "verify"
NAMES = (BACKUP, DRILL, VERIFY)
LOOK_S = 15.0  # between looks at the clock, which may be set meanwhile
INTERRUPTED = "it was interrupted: the process or the PC ended"
ASK_AGAIN_S = 10.0


class Rounds:
    """One piece of work at a time. All but `ask` and `schedules` in one event loop."""

    def __init__(self, settings: Settings, keeper: Keeper, clock: Clock | None = None) -> None:
        self._home, self._keeper, self._clock = settings.home, keeper, clock or SystemClock()
        backups = settings.backups
        self._crons = {BACKUP: backups.schedule, DRILL: backups.drill, VERIFY: ""}
        self._held = {name: self._read(name) for name in NAMES}
        self._wanted: tuple[str, str | None] | None = None
        self._working = False
        self._wake: asyncio.Event | None = None

    @property
    def working(self) -> bool:
        return self._working or self._wanted is not None

    def _read(self, name: str) -> Schedule:
        """As it was left; work that was under way then was interrupted."""
        cron = self._crons[name]
        held = read_schedule(self._home, name) or Schedule(name=name, cron=cron)
        if held.running_since is not None:
            ended = ScheduleResult(began_at=held.running_since, ended_at=self._clock.now(), ok=False, detail=INTERRUPTED)
            held = replace(held, running_since=None, progress="", last=ended)
        if held.cron != cron:
            held = replace(held, cron=cron, next_at=None)
        return held

    def schedules(self) -> tuple[Schedule, ...]:
        """Each with how far it is now."""
        return tuple(
            replace(each, progress=str(self._keeper.progress)) if each.running_since is not None else each
            for each in self._held.values()
        )

    def ask(self, name: str, backup_id: str | None = None) -> Schedule:
        """Have it done now. Busy while anything else is under way."""
        if self.working:
            raise Busy("the keeper of backups", ASK_AGAIN_S)
        self._wanted = (name, backup_id)
        held = self._held[name]
        self._held[name] = replace(held, running_since=self._clock.now())
        if self._wake is not None:
            self._wake.set()
        return self._held[name]

    def noted(self, doing: str) -> None:
        """What the keeper is at: kept, so that it can be read from outside."""
        for name, held in self._held.items():
            if held.running_since is not None:
                self._keep(name, replace(held, progress=doing))

    async def run(self) -> None:
        """Until cancelled."""
        self._wake = asyncio.Event()
        for name in NAMES:
            self._keep(name, self._planned(self._held[name]))
        while True:
            self._wake.clear()
            while (work := self._next()) is not None:
                await self._do(*work)
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _planned(self, held: Schedule) -> Schedule:
        """When it is due next: what was planned, unless the clock was set back far behind it."""
        following = next_time(held.cron, self._clock.now())
        planned = following if held.next_at is None or following is None else min(held.next_at, following)
        return replace(held, next_at=planned)

    def _next(self) -> tuple[str, str | None, bool] | None:
        """What to do now: what was asked for first, then what is due."""
        if self._wanted is not None:
            (name, backup_id), self._wanted = self._wanted, None
            return name, backup_id, True
        for name in NAMES:
            held = self._held[name] = self._planned(self._held[name])
            if held.next_at is not None and held.next_at <= self._clock.now():
                return name, None, False
        return None

    async def _do(self, name: str, backup_id: str | None, asked: bool) -> None:
        began = self._clock.now()
        self._working = True
        held = replace(self._held[name], running_since=began, progress="")
        self._keep(name, held)
        result = ScheduleResult(began_at=began, ended_at=began, ok=False, detail="", asked=asked)
        works: dict[str, Callable[[], Awaitable[ScheduleResult]]] = {
            BACKUP: lambda: self._backup(result),
            DRILL: lambda: self._drill(result, backup_id),
            VERIFY: lambda: self._verify(result, backup_id),
        }
        try:
            result = await works[name]()
        except PerenneError as error:
            result = replace(result, detail=str(error))
            log.error("%s failed: %s", name, error)
        except Exception as error:
            result = replace(result, detail=f"{type(error).__name__}: {error}")
            log.exception("%s failed", name)
        finally:
            self._working = False
            now = self._clock.now()
            result = replace(result, ended_at=now, detail=result.detail or INTERRUPTED)
            ended = replace(held, running_since=None, progress="", last=result, next_at=next_time(held.cron, now))
            self._keep(name, replace(ended, good=result) if result.ok else ended)

    async def _backup(self, result: ScheduleResult) -> ScheduleResult:
        made = await self._keeper.create("manual" if result.asked else "scheduled")
        backup, verified = made.backup, made.verified
        missing = f"; {backup.missing:,} files were missing from the home" if backup.missing else ""
        words = (
            f"{backup.documents:,} documents, {backup.files:,} files, {_size(backup.size_bytes)}, of which {_size(backup.new_bytes)} were new"
            f"; {'every piece was read back and is whole' if verified.ok else 'it is DAMAGED in its target'}{missing}"
        )
        return replace(result, ok=verified.ok, detail=words, backup_id=backup.id, faults=verified.faults)

    async def _drill(self, result: ScheduleResult, backup_id: str | None) -> ScheduleResult:
        done = await self._keeper.drill(backup_id)
        words = (
            f"restored in {done.took_s:,.1f} s: {done.rows:,} rows, {done.files:,} files, {done.texts} searches and {done.vectors} vector "
            "queries as when the backup was made"
            if done.ok
            else f"the restore is NOT what was backed up: {'; '.join(done.faults[:3])}"
        )
        return replace(result, ok=done.ok, detail=words, backup_id=done.backup_id, faults=done.faults)

    async def _verify(self, result: ScheduleResult, backup_id: str | None) -> ScheduleResult:
        verified = await self._keeper.verify(backup_id)
        words = f"{verified.pieces:,} pieces, {_size(verified.size_bytes)}: {'all are whole' if verified.ok else 'some are DAMAGED'}"
        return replace(result, ok=verified.ok, detail=words, backup_id=verified.id, faults=verified.faults)

    def _keep(self, name: str, schedule: Schedule) -> None:
        self._held[name] = schedule
        try:
            write_schedule(self._home, schedule)
        except OSError as error:  # a full disk: the work itself will say so
            log.warning("how %s stands can't be written down: %s", name, error)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"
