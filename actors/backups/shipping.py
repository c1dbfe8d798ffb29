"""The log's segments on their way from the writer's folder to the repository: fetched every few seconds, and how far behind that is."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from actors.backups.moments import run_of
from actors.backups.repository import Repository
from perenne.errors import PerenneError
from perenne.log_segments import CURRENT, FOLDER, LOOKED, LOST, Segment, waiting
from perenne.messages.backups import Schedule, ScheduleResult
from perenne.schedules import write_schedule
from perenne.settings import Settings

log = logging.getLogger(__name__)

NAME = "log"  # among what is done by the clock
LOOK_S = 5.0
SAID_S = 60.0  # between two words about how it stands, while that is the same
AT_ONCE = 64  # segments fetched before the next look: what bounds how long a stop is waited for
BEHIND_S = 300.0  # from here on it is said that the target is behind


class Shipper:
    """`once` blocks and is one thread's. What is in the repository was written whole; what is not is in the writer's folder still."""

    def __init__(
        self, settings: Settings, open_repository: Callable[[], Repository], now: Callable[[], float] = time.time
    ) -> None:
        self._home, self._open, self._now = settings.home, open_repository, now
        self._folder = settings.path("store", FOLDER)
        self._repository: Repository | None = None
        self._there: set[Segment] = set()
        self._whole_at = now()  # all that was committed before is in the repository
        self._said: tuple[bool, str] | None = None
        self._said_at = 0.0
        self._good: ScheduleResult | None = None
        self._lost = ""  # why the last chain ended, until a backup was made in the one after it
        self._asked_at = -SAID_S

    @property
    def loss_s(self) -> float:
        """How many seconds of commits would be missing if the home were lost now."""
        return max(0.0, self._now() - self._whole_at)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            more = await asyncio.to_thread(self.once)
            if not more:
                await asyncio.sleep(LOOK_S)

    def once(self) -> bool:
        """Fetch what waits; whether there is more. What the target refuses is said and tried again; it raises nothing of that kind."""
        began, looked = self._now(), self._looked()
        more = False
        try:
            more = self._fetch()
            if not more and looked:
                self._whole_at = max(self._whole_at, min(looked, began))
            self._say(began, *self._standing())
        except (PerenneError, OSError) as error:
            self._repository = None
            self._say(began, False, f"the log waits for the backups' target: {error}")
        except ValueError as error:
            self._say(began, False, f"a part of the log that was set aside is damaged: {error}")
        return more

    def _fetch(self) -> bool:
        waits = waiting(self._folder)
        if not waits:
            return False
        if self._repository is None:
            self._repository = self._open()
            self._there = set(self._repository.log.segments())
        new = [each for each in waits if each not in self._there]
        for segment in new[:AT_ONCE]:
            try:
                packed = (self._folder / segment.file_name).read_bytes()
            except FileNotFoundError:
                continue
            self._repository.log.put(segment, packed)
            self._there.add(segment)
        newest = self._newest(waits)
        for segment in waits:  # the writer goes on from the newest of its chain after a restart
            if segment in self._there and segment is not newest:
                (self._folder / segment.file_name).unlink(missing_ok=True)
        return len(new) > AT_ONCE

    def _newest(self, waits: list[Segment]) -> Segment | None:
        try:
            chain = (self._folder / CURRENT).read_text().strip()
        except FileNotFoundError:
            return None
        return next((each for each in reversed(waits) if each.chain == chain), None)

    def _looked(self) -> float:
        """When the writer last had nothing left to copy; 0 while it has lost its chain."""
        try:
            if (self._folder / LOST).exists() or not (self._folder / CURRENT).exists():
                return 0.0
            return (self._folder / LOOKED).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _standing(self) -> tuple[bool, str]:
        with contextlib.suppress(FileNotFoundError):
            self._lost = (self._folder / LOST).read_text()
        if self._lost and not self._begun_again():
            return False, f"{self._lost}. Moments can be brought back again from the next backup on"
        self._lost = ""
        if self.loss_s > BEHIND_S:
            return False, f"the log is {self.loss_s:,.0f} s behind what was written"
        return True, "what was written is in the backups' target within seconds"

    def _begun_again(self) -> bool:
        """Whether there is a backup in the chain that is written now. Asked once a minute: it reads what backups there are."""
        if self._repository is None or (self._folder / LOST).exists() or time.monotonic() - self._asked_at < SAID_S:
            return False
        self._asked_at = time.monotonic()
        segments = self._repository.log.segments()
        runs = (run_of(each, segments) for each in self._repository.list())
        newest = self._newest(waiting(self._folder))
        return newest is not None and any(run.segments and run.segments[0].chain == newest.chain for run in runs)

    def _say(self, began: float, ok: bool, words: str) -> None:
        """How it stands, where `perenne schedules`, `perenne status` and the alerts look."""
        now = self._now()
        if self._said == (ok, words) and 0 <= now - self._said_at < SAID_S:
            return
        if not ok and (self._said is None or self._said[0]):
            log.warning("the log of the database: %s", words)
        self._said, self._said_at = (ok, words), now
        result = ScheduleResult(began_at=began, ended_at=now, ok=ok, detail=words)
        self._good = result if ok else self._good
        try:
            write_schedule(self._home, Schedule(name=NAME, cron="", last=result, good=self._good))
        except OSError as error:
            log.warning("how the log stands can't be written down: %s", error)


def forget(settings: Settings) -> None:
    """Where the log is not kept: what waited from when it was, and what was said of it, are gone."""
    import shutil

    from perenne.schedules import FOLDER as SCHEDULES

    shutil.rmtree(settings.path("store", FOLDER), ignore_errors=True)
    Path(settings.home, SCHEDULES, f"{NAME}.json").unlink(missing_ok=True)
