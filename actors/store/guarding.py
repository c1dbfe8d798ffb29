"""Before the database is brought to another version: a verified backup of it in the backups' target, made by a process of its own, which
ends with its asker. Where none can be made, for the target is away or full, a copy in HOME/store takes its place, and the owner is told:
a PC that comes up without its other disk would not come up at all otherwise."""

import json
import logging
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from perenne.clock import Clock, SystemClock
from perenne.errors import PerenneError, StorageFailed, Unavailable
from perenne.messages.backups import Schedule, ScheduleResult
from perenne.names import BEFORE_MIGRATION
from perenne.schedules import BEFORE, read_schedule, write_schedule
from perenne.settings import Settings

log = logging.getLogger(__name__)

SCRATCH = ("scratch", "before-migration")
BEAT_S = 2.0  # between two words of how far it is
STILL_S = 600.0  # without one it is given up: a target that hangs must not keep the instance down
WITHIN_S = 12 * 3_600.0

Tell = Callable[[str], None]
Make = Callable[[Settings, str, str, Tell], str]


def make_apart(settings: Settings, held: str, wanted: str, tell: Tell) -> str:
    """The id of a verified backup (`cluster.before_migration`). StorageFailed when it says why there is none; Unavailable when it died or
    hung."""
    child = subprocess.Popen([sys.executable, "-m", BEFORE_MIGRATION], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    question = {"settings": settings.model_dump(mode="json"), "held": held, "wanted": wanted}
    try:
        child.stdin.write(json.dumps(question).encode() + b"\n")  # there, and not in its arguments: it holds passwords
        child.stdin.flush()  # it stays open: its end is how the child learns of ours
        answer = _listen(child, tell)
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            stream.close()
    if "error" in answer:
        raise StorageFailed(str(answer["error"]))
    return str(answer["kept"]["id"])


def _listen(child: "subprocess.Popen[bytes]", tell: Tell) -> dict[str, Any]:
    """Its last word."""
    assert child.stdout is not None
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        if not select.select([child.stdout], [], [], STILL_S)[0]:
            raise Unavailable("the backup", 60.0, f"nothing of it moved for {STILL_S / 60:g} min")
        line = child.stdout.readline()  # it writes whole lines
        if not line:
            raise Unavailable("the backup", 60.0, f"its process ended with {child.wait()}")
        word = json.loads(line)
        if "doing" not in word:
            return word
        if word["size_bytes"] >> 20:
            tell(f"{word['doing']}, {word['size_bytes'] >> 20:,} MB")
        elif word["doing"]:
            tell(word["doing"])
    raise Unavailable("the backup", 60.0, f"it took more than {WITHIN_S / 3_600:g} h")


class Guard:
    """`keep`, then either the migration or, without a backup, a copy and `fell_back`. How it ended is kept in HOME/schedules, where
    `perenne schedules`, `perenne upgrade` and the AlertCenter read it."""

    def __init__(self, settings: Settings, make: Make = make_apart, clock: Clock | None = None) -> None:
        self._settings, self._make, self._clock = settings, make, clock or SystemClock()
        self._failed: ScheduleResult | None = None
        self.kept: str | None = None  # the backup's id

    @property
    def failed(self) -> str:
        """Why there is no backup; empty where there is one."""
        return "" if self._failed is None else self._failed.detail

    def keep(self, held: str, wanted: str, tell: Tell) -> str | None:
        """The id of a verified backup of the database as it is; None where there can be none."""
        began = self._clock.now()
        about = f"before the database is brought from version {held} to {wanted}"
        tell(f"a backup {about}")
        self._failed = self.kept = None
        try:
            backup_id = self._make(self._settings, held, wanted, lambda far: tell(f"a backup {about}: {far}"))
        except (PerenneError, OSError) as error:
            log.error("no backup can be made %s: %s", about, error)
            detail = f"no backup could be made {about}: {error}"
            self._failed = ScheduleResult(began_at=began, ended_at=self._clock.now(), ok=False, detail=detail)
            return None
        self.kept, detail = backup_id, f"made and read back before the database went from version {held} to {wanted}"
        self._note(ScheduleResult(began_at=began, ended_at=self._clock.now(), ok=True, detail=detail, backup_id=backup_id))
        return backup_id

    def fell_back(self, copy: Path | None) -> None:
        """Write down that there is no backup, and which copy took its place."""
        if self._failed is not None:
            words = f"a copy is {copy}" if copy is not None else "and no copy either"
            self._note(self._failed, f"{self._failed.detail}; {words}")

    def _note(self, result: ScheduleResult, detail: str | None = None) -> None:
        last = result if detail is None else replace(result, detail=detail)
        held = read_schedule(self._settings.home, BEFORE)
        good = last if last.ok else held.good if held is not None else None
        try:
            write_schedule(self._settings.home, Schedule(name=BEFORE, cron="", last=last, good=good))
        except OSError as error:
            log.warning("how the backup before the migration ended can't be written down: %s", error)
