"""Ray's own processes leave their parent, and with it whoever could hear how they end. The root adopts them."""

import contextlib
import ctypes
import os
from collections.abc import Collection

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_STATUSES_KEPT = 500


def adopt() -> bool:
    """From now on, whoever of our descendants loses its parent is a child of this process. False where the system knows no such thing."""
    try:
        return ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


class Reaper:
    """How adopted children ended, by process id."""

    def __init__(self) -> None:
        self._statuses: dict[int, int] = {}

    def reap(self, without: Collection[int] = ()) -> None:
        """Take in those that ended, but for these, which somebody else waits for."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error, OSError):
                    if child.pid not in without and child.status() == psutil.STATUS_ZOMBIE:
                        pid, status = os.waitpid(child.pid, os.WNOHANG)
                        if pid:
                            self._statuses[pid] = status
        while len(self._statuses) > _STATUSES_KEPT:
            del self._statuses[next(iter(self._statuses))]

    def take(self, pid: int) -> None:
        """Take in this one if it ended."""
        with contextlib.suppress(OSError):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                self._statuses[gone] = status

    def status(self, pid: int) -> int | None:
        """As `os.waitpid` gives it; None when nobody saw it."""
        return self._statuses.get(pid)
