"""The zygote (`cluster/zygote.py`) as the root keeps it: started, asked again and again, and replaced when it is dead or hangs."""

import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cluster.environment import CHECKOUT
from cluster.restarts import Intensity, decide, recent
from cluster.zygote import bell_path

log = logging.getLogger(__name__)

# One that dies or hangs is replaced at once, then ever later: without one, workers begin the slow way.
STARTING = Intensity(window_s=600.0, free=3, backoff_s=4.0, backoff_max_s=60.0, held_after=1000)
RING_EVERY_S = 1.0
ANSWERS_WITHIN_S = (
    5.0  # of a zygote that has answered before, on a busy PC too; a worker would wait for it for 10 s (`cluster/worker.py`)
)
LOADS_WITHIN_S = 60.0  # until its first answer: two seconds of a core, on a PC that may be busy
_TITLE_ROOM = "." * 200  # a fork's title has the room of the zygote's arguments


class Forking:
    """Never waits: what was asked at one look is heard at a later one."""

    def __init__(self, ray_dir: str, environment: Mapping[str, str], log_path: Path) -> None:
        self._bell, self._environment, self._log = bell_path(ray_dir), environment, log_path
        self._zygote: subprocess.Popen[bytes] | None = None
        self._starts: tuple[float, ...] = ()
        self._line: socket.socket | None = None
        self._heard_at = 0.0
        self._asked_at: float | None = None  # since when an answer is owed
        self._answered = False

    def look(self, now: float) -> None:
        """Start the zygote unless it runs or died too often; one that hangs is killed, so that who waits at its door begins a worker the
        usual way at once. Takes the time of a monotonic clock."""
        if self._zygote is not None and self._zygote.poll() is None:
            if not self._hangs(now):
                return
            log.error("the process that workers are forked from does not answer: it is replaced")
            self._zygote.kill()
            self._zygote.wait(5.0)
        if decide(self._starts, now, STARTING, seed=len(self._starts)).decision == "go":
            self._start(now)

    @property
    def pid(self) -> int:
        """Of the zygote; 0 when there is none."""
        return 0 if self._zygote is None else self._zygote.pid

    def _start(self, now: float) -> None:
        self._hang_up()
        self._starts = (*recent(self._starts, now, STARTING.window_s), now)
        self._heard_at, self._asked_at, self._answered = now, None, False
        with open(self._log, "ab") as output:
            self._zygote = subprocess.Popen(
                [sys.executable, "-P", "-m", "cluster.zygote", _TITLE_ROOM],
                env=self._environment,
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _hangs(self, now: float) -> bool:
        if self._asked_at is None:
            if now - self._heard_at < RING_EVERY_S:
                return False
            self._asked_at = now
        self._line = self._line or _ring(self._bell)
        if self._line is not None and _hears(self._line):
            self._hang_up()
            self._heard_at, self._asked_at, self._answered = now, None, True
            return False
        return now - self._asked_at > (ANSWERS_WITHIN_S if self._answered else LOADS_WITHIN_S)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def _ring(path: str) -> socket.socket | None:
    """A line on which an answer will come; None while nobody is there, or too many stand at the bell."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        line.connect(path)
    except OSError:
        line.close()
        return None
    return line


def _hears(line: socket.socket) -> bool:
    with contextlib.suppress(OSError):  # nothing yet, or it was cut off: its end is seen at the next look
        return line.recv(1) == b"1"
    return False
