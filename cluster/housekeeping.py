"""What the Supervisor looks after beside its children's health: how processes ended, memory, the disk, Ray's logs. All that blocks is done in
a thread; nothing here raises."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import psutil

from cluster.crashes import HUNG, OF_ROOT, Crashes, Exit, ended, exits_path, last_lines, read_exits, told
from cluster.events import EventLog
from cluster.pressure import Action, DiskPressure, MemoryPressure, Seen, Use
from cluster.standing import Standing
from cluster.trimming import logs_folder, trim
from perenne import metric_table as table
from perenne import metrics
from perenne.relief import pss_bytes
from perenne.room import measured, reserve_of
from perenne.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

MEMORY_LOOK_S = 10.0
MEMORY_PRESSED_S = 3.0  # while something is over its budget or the machine is short
DISK_LOOK_S = 2.0
LOGS_LOOK_S = 300.0
DIED_QUIET_S = 300.0  # a child that dies again within this is no news; each death has its record all the same
_RECENT, _OLD_S = 10, 3600.0  # records that are looked at for those of the root, and their age
_OLD_PIDS = 500  # process ids whose names are remembered
_REPLICA_TITLES = ("ServeRepli", "SERVE_REPL")  # of one that died before anybody knew whose it was, as the kernel cuts its name
_KILLED_BY_RAY = 1  # exit code of a worker that was ended by `ray.kill`, or by Ray itself


class Housekeeping:
    """`act` carries out what the looks call for."""

    def __init__(
        self,
        settings: Settings,
        standings: Mapping[str, Standing],
        events: EventLog,
        act: Callable[[Action], None],
    ) -> None:
        self._settings, self._standings, self._events, self._act = settings, standings, events, act
        self._crashes = Crashes(settings.path("crashes"))
        self._memory = MemoryPressure(settings.memory.low_share)
        self._disk = DiskPressure()
        self._due: dict[str, float] = {}
        self._offset = 0
        self._crashes_at = 0.0
        self._names: dict[int, str] = {}
        self._naming = threading.Lock()
        self.expected: set[int] = set()  # processes whose end was ordered
        self.last_record: dict[str, str] = {}  # by child: the id of its last crash that this Supervisor saw

    @property
    def notices(self) -> tuple[str, ...]:
        return self._disk.notices + self._memory.notices

    async def look(self, stopping: bool = False) -> None:
        """Once a tick: whatever is due."""
        self._know_names()
        await self._quietly("ends", self._hear_ends, stopping)
        if self._is_due("disk", DISK_LOOK_S):
            await self._quietly("disk", self._look_at_disk)
        if self._is_due("memory", MEMORY_PRESSED_S if self._memory.notices else MEMORY_LOOK_S):
            seen = await self._quietly("memory", self._see_memory)
            for action in self._memory.decide(seen, time.monotonic()) if seen is not None else ():
                self._note_and_act(action)
        if self._is_due("logs", LOGS_LOOK_S):
            folder, most = logs_folder(self._settings.ray_dir), self._settings.disk.logs_bytes_max
            await self._quietly("logs", trim, folder, most, psutil.pid_exists)
        await self._quietly("events", self._events.flush)

    async def _quietly(self, what: str, work: Callable[..., T], *given: object) -> T | None:
        try:
            return await asyncio.to_thread(work, *given)
        except Exception as error:  # a full disk, a process that is gone: the next look tells more
            log.warning("looking after %s failed: %s: %s", what, type(error).__name__, error)
            return None

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._due.get(what, float("-inf")) < every_s:
            return False
        self._due[what] = now
        return True

    def _note_and_act(self, action: Action) -> None:
        if action.kind is not None:
            self._events.note(action.kind, action.name, action.detail)
        if action.what != "note":
            self._act(action)

    # How processes ended

    def know(self, pid: int, name: str) -> None:
        """Whose process this is. Told at its birth too: it may be gone before the next look. From several threads."""
        with self._naming:
            if pid and self._names.get(pid) != name:
                self._names.pop(pid, None)
                self._names[pid] = name
            while len(self._names) > _OLD_PIDS:
                del self._names[next(iter(self._names))]

    def _know_names(self) -> None:
        for name, standing in self._standings.items():
            self.know(standing.pid, name)

    def _hear_ends(self, stopping: bool) -> None:
        exits, self._offset = read_exits(exits_path(self._settings.ray_dir), self._offset)
        for gone in exits:
            if not stopping and self._is_crash(gone):
                self._record(gone)
            self.expected.discard(gone.pid)
        self._hear_of_the_roots()

    def _hear_of_the_roots(self) -> None:
        """What the root recorded and nobody was told of."""
        try:
            changed_at = self._settings.path("crashes").stat().st_mtime
        except OSError:
            return
        if changed_at == self._crashes_at:
            return
        self._crashes_at = changed_at
        told_of = {event.subject: event.at for event in self._events.after(0) if event.kind == "child_died"}
        for crash in self._crashes.read(last=_RECENT):
            if crash.name in OF_ROOT and time.time() - _OLD_S < crash.at and told_of.get(crash.name, 0.0) < crash.at:
                said = f"{crash.name}, a process of Ray's, {ended(crash)}; it was started again"
                self._events.note("child_died", crash.name, said, quiet_s=DIED_QUIET_S, record=crash.id)

    def _is_crash(self, gone: Exit) -> bool:
        code, _ = told(gone.status)
        if code == 0 or gone.pid in self.expected:
            return False
        return gone.pid in self._names or code != _KILLED_BY_RAY  # Serve ends replicas, and Ray spare workers, that way

    def _record(self, gone: Exit) -> None:
        title = gone.title.removeprefix("ray::")
        name = self._names.get(gone.pid) or ("Serve replica" if title in _REPLICA_TITLES else title) or "a worker of Ray's"
        lines = last_lines(self._settings.ray_dir, gone.pid, self._settings.path("logs"))
        crash = self._crashes.keep(name, gone.pid, gone.at, gone.status, "", lines)
        if crash is not None:
            said = f"{name} (process {gone.pid}) {ended(crash)}; `perenne crashes` shows its last words"
            self.last_record[name] = crash.id
            self._events.note("child_died", name, said, quiet_s=DIED_QUIET_S, record=crash.id)

    def last_record_of(self, children: Iterable[str]) -> str:
        """The id of the last crash record of any of them, empty when there is none. Ids begin with their moment."""
        return max((self.last_record.get(name, "") for name in children), default="")

    def record_hang(self, name: str, pid: int, reason: str) -> str:
        """Keep what a process that hangs last said, before its end is ordered; the record's id. In a thread: it reads logs. Never raises."""
        self.expected.add(pid)
        try:
            lines = last_lines(self._settings.ray_dir, pid, self._settings.path("logs"))
            crash = self._crashes.keep(name, pid, time.time(), None, f"{HUNG}{reason}", lines)
        except OSError as error:
            log.warning("the hang of %s could not be recorded: %s", name, error)
            return ""
        return "" if crash is None else crash.id

    # Memory and disk

    def _see_memory(self) -> Seen:
        machine = psutil.virtual_memory()
        uses = [
            Use(
                name=name,
                pss=pss_bytes(standing.pid),
                budget=self._settings.memory.budget_of(name),
                idle=standing.state == "ready" and standing.queue == 0,
            )
            for name, standing in self._standings.items()
            if standing.pid
        ]
        for use in uses:
            metrics.tell(table.CHILD_BYTES, use.pss, use.name)
        return Seen(available=machine.available, total=machine.total, uses=uses)

    def _look_at_disk(self) -> None:
        free, total = measured(self._settings.path())
        metrics.tell(table.DISK_FREE, free)
        told_of = self._disk.decide(free, reserve_of(self._settings.disk, total))
        if told_of is None:
            return
        kind, detail = told_of
        if kind != "disk_recovered":
            trim(logs_folder(self._settings.ray_dir), 0, psutil.pid_exists)
        self._events.note(kind, "disk", detail)
