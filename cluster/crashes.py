"""Records of processes that ended otherwise than they should: HOME/crashes/, one small file each, the last CRASHES_KEPT.

How a process ended only its parent hears: of workers that is the zygote, which writes it to EXITS in Ray's folder; of Ray's own processes the
root. What they last said is in Ray's logs; it is kept without keys and without what stood in quotes, which may be a document's.
"""

import contextlib
import json
import os
import re
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.log_lines import LogLine, last_of, log_files
from perenne.api import decode
from perenne.logs import discreet
from perenne.messages.health import Crash

CRASHES_KEPT = 200
OF_ROOT = ("gcs", "raylet", "dashboard")  # names under which the root keeps records
HUNG = "it hung: "  # how the detail of a record begins whose process was ended because it hung
LOG_LINES, LINE_CHARS = 20, 300
EXCEPTION_LINES = 5  # of each
_TAIL_BYTES = 64 << 10
EXITS = "exits.jsonl"
_EXITS_READ_MAX = 1 << 20
_WORD = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The end of a process as its parent heard it. `status` as `os.waitpid` gives it; `title`: the kernel's short name of it."""

    pid: int
    status: int
    at: float
    title: str = ""


def exits_path(ray_dir: str) -> Path:
    return Path(ray_dir, EXITS)


def read_exits(path: Path, offset: int) -> tuple[list[Exit], int]:
    """Those that were written from this byte on, and where to go on. A file that is shorter was begun anew."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(offset if offset <= size else 0)
            start = file.tell()
            whole = file.read(_EXITS_READ_MAX)
    except OSError:
        return [], 0
    whole = whole[: whole.rfind(b"\n") + 1]
    exits: list[Exit] = []
    for line in whole.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            exits.append(Exit(**json.loads(line)))
    return exits, start + len(whole)


def told(status: int) -> tuple[int | None, str | None]:
    """Exit code or name of the signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return None, signal.Signals(number).name
        except ValueError:
            return None, f"signal {number}"
    return os.WEXITSTATUS(status), None


def sanitized(line: str) -> str:
    """A line of a log as it may be kept."""
    return "".join(char for char in discreet(line) if char.isprintable())[:LINE_CHARS]


def last_lines(ray_dir: str, pid: int, logs: Path) -> tuple[str, ...]:
    """What a worker of Ray's last wrote, sanitized: the lines of its log, then what its libraries and the interpreter printed, which is
    the end of one that crashed."""
    folder = Path(ray_dir, "r", "session_latest", "logs")
    printed: list[str] = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob(f"worker-*-{pid}.*")):
            printed.extend(tail(path))
    told = [line for path in log_files(logs) for line in last_of(path, LOG_LINES, lambda one: one.pid == pid)]
    logged = [sanitized(said) for line in sorted(told, key=lambda one: one.time) for said in _said(line)]
    printed = printed[-max(LOG_LINES // 2, LOG_LINES - len(logged)) :]
    return (*logged[-(LOG_LINES - len(printed)) :], *printed) if len(printed) < LOG_LINES else tuple(printed)


def _said(line: LogLine) -> list[str]:
    """As a log for people would have it; of an exception its last words."""
    first = f"{line.time} {line.level.upper()} {line.logger}: {line.message}"
    return [first, *(line.exception or "").splitlines()[-EXCEPTION_LINES:]]


def tail(path: Path) -> list[str]:
    """The last lines of a log, sanitized; none when it can't be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    # Ray's own marks for its log monitor, such as `:actor_name:…`, say nothing.
    return [sanitized(line) for line in text.splitlines() if line.strip() and not line.startswith(":")][-LOG_LINES:]


class Crashes:
    """The folder of records. Several processes may write: each record has a file of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, pid: int, at: float, status: int | None, detail: str, log: tuple[str, ...]) -> Crash | None:
        """Write a record; None when there is one of this death already. Raises OSError when the disk does not take it."""
        code, by = (None, None) if status is None else told(status)
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        crash = Crash(
            id=f"{moment}-{_WORD.sub('-', name)}-{pid}",
            at=at,
            name=name,
            pid=pid,
            exit_code=code,
            signal=by,
            detail=detail,
            log=log,
        )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{crash.id}.json"
        if path.exists():
            return None
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(asdict(crash)))
        aside.replace(path)
        for old in sorted(self._folder.glob("*.json"))[:-CRASHES_KEPT]:
            old.unlink(missing_ok=True)
        return crash

    def read(self, last: int = CRASHES_KEPT) -> tuple[Crash, ...]:
        """The newest, oldest of them first. What can't be read is passed over."""
        crashes: list[Crash] = []
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.glob("*.json"))[-last:]:
                with contextlib.suppress(Exception):
                    crashes.append(decode(Crash, json.loads(path.read_text())))
        return tuple(crashes)


def ended(crash: Crash) -> str:
    """How it ended, in words."""
    if crash.signal is not None:
        return f"was ended by {crash.signal}"
    if crash.detail.startswith(HUNG):
        return f"was ended because {crash.detail}"
    return f"ended with {crash.exit_code}" if crash.exit_code is not None else "ended, nobody saw how"
