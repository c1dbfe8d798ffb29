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

from perenne.api import decode
from perenne.messages.health import Crash
from perenne.settings import masked

CRASHES_KEPT = 200
OF_ROOT = ("gcs", "raylet", "dashboard")  # names under which the root keeps records
HUNG = "it hung: "  # how the detail of a record begins whose process was ended because it hung
LOG_LINES, LINE_CHARS = 20, 300
_TAIL_BYTES = 64 << 10
EXITS = "exits.jsonl"
_EXITS_READ_MAX = 1 << 20
# Longer than a path of Python's in a traceback is wide; a name of a module or a file of ours is no secret.
_QUOTED = re.compile(r"'[^'\n]{2,}'|(?<!File )\"[^\"\n]{2,}\"|`[^`\n]{2,}`|“[^”\n]{2,}”")
_SECRET = re.compile(r"(?i)\b(bearer\s+\S+|(?:pk|sk|key|token)[-_][A-Za-z0-9_\-]{8,}|[0-9a-f]{32,})")
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
    line = _SECRET.sub("…", _QUOTED.sub("…", masked(line)))
    return "".join(char for char in line if char.isprintable())[:LINE_CHARS]


def last_lines(ray_dir: str, pid: int) -> tuple[str, ...]:
    """What a worker of Ray's last wrote, sanitized."""
    folder = Path(ray_dir, "r", "session_latest", "logs")
    found: list[str] = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob(f"worker-*-{pid}.*")):
            found.extend(tail(path))
    return tuple(found[-LOG_LINES:])


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
