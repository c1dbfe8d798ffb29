"""Room on the disk of the home: a part of it stays free, so that what is under way can end and the database never meets a full disk."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from perenne.errors import StorageFailed
from perenne.settings import DiskSettings

_MEASURED_FOR_S = 0.25  # a measure holds this long: one system call, whatever the load
_RESERVE_MIN, _RESERVE_MAX, _RESERVE_SHARE = 256 << 20, 2 << 30, 0.01


def measured(folder: Path) -> tuple[int, int]:
    """Free and all bytes of the disk that the folder is on, or will be on."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize


def reserve_of(settings: DiskSettings, total: int) -> int:
    """How much of a disk of this size stays free."""
    if settings.reserve_bytes is not None:
        return settings.reserve_bytes
    return min(_RESERVE_MAX, max(_RESERVE_MIN, int(total * _RESERVE_SHARE)))


class Room:
    """Asked before something new is written."""

    def __init__(self, folder: Path, settings: DiskSettings, measure: Callable[[Path], tuple[int, int]] = measured) -> None:
        self._folder, self._settings, self._measure = folder, settings, measure
        self._lock = threading.Lock()
        self._measured_at = float("-inf")
        self._shortage: str | None = None

    def shortage(self) -> str | None:
        """Why nothing new can be written, in words for the owner; None when it can. A disk that can't be measured has room."""
        now = time.monotonic()
        with self._lock:
            if now - self._measured_at >= _MEASURED_FOR_S:
                self._measured_at = now
                try:
                    free, total = self._measure(self._folder)
                except OSError:
                    free = total = -1
                reserve = reserve_of(self._settings, total)
                self._shortage = short_of(free, reserve) if 0 <= free < reserve else None
            return self._shortage

    def check(self) -> None:
        """Raises StorageFailed while there is no room."""
        if (shortage := self.shortage()) is not None:
            raise StorageFailed(shortage)


def short_of(free: int, reserve: int) -> str:
    return (
        f"the disk is nearly full: {free >> 20} MB are free and {reserve >> 20} MB stay in reserve. Reading and searching go on; "
        "free some room and writing goes on by itself"
    )
