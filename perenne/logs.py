"""What the processes of an instance log: JSON lines in HOME/logs, a file each, turned over when it is full and the owner's alone.

docs/operations.md names the fields. A line holds no key and nothing that stood in quotes, which may be a document's: that is taken out
here, whoever wrote it. Python's own handler formats each line twice and asks the disk three times before it writes one; this one
does each once, and keeps to a bound of lines a second, so that a flood of troubles costs no more than that."""

import contextlib
import fcntl
import json
import logging
import os
import re
import time
import traceback
from pathlib import Path

from perenne import correlation
from perenne.settings import LogSettings, Settings, masked

OURS = ("perenne", "actors", "serve", "cluster")  # of others only what warns is kept
ENDING = ".jsonl"
MESSAGE_CHARS, EXCEPTION_CHARS = 2_000, 8_000
LINES_MAX, LINES_PER_S = 500.0, 50.0  # at once, and from then on; what is more is counted, and the next line says how many
SLOTS = 8  # processes of one name at the same time, such as replicas of the edge; more keep no file
_MARK = "PERENNE_INSTANCE"  # in the environment of every process of an instance (`cluster.environment`)

# A name of a module or a file of ours is no secret, and an apostrophe within a word is no quote.
_QUOTED = re.compile(r"(?:(?<!\w)|(?<=\b[bru]))'[^'\n]{2,}'|(?<!File )\"[^\"\n]{2,}\"|`[^`\n]{2,}`|“[^”\n]{2,}”")
_SECRET = re.compile(r"(?i)\b(bearer\s+\S+|(?:pk|sk|key|token)[-_][A-Za-z0-9_\-]{8,}|[0-9a-f]{32,})")


def discreet(text: str) -> str:
    """The text without keys, passwords of addresses, and what stands in quotes."""
    if "://" in text:
        text = masked(text)
    if any(quote in text for quote in "'\"`“"):  # most have none, and to look for the pattern takes longer
        text = _QUOTED.sub("…", text)
    return _SECRET.sub("…", text)


class JsonLines(logging.Formatter):
    """One JSON object: time (UTC), level, actor, pid, logger, message; request_id, run_id, exception and dropped when there are."""

    def __init__(self, actor: str) -> None:
        super().__init__()
        self._actor = actor
        self._second, self._shown = -1, ""  # of the last line
        self._encode = json.JSONEncoder(ensure_ascii=False).encode

    def format(self, record: logging.LogRecord) -> str:
        """What the record says, as a line without its end."""
        return self.line(record, 0)

    def line(self, record: logging.LogRecord, dropped: int) -> str:
        """The same; and that so many before it were dropped."""
        request, run = correlation.ids() or (None, None)
        second = int(record.created)
        if second != self._second:
            self._second, self._shown = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        told: dict[str, str | int] = {
            "time": f"{self._shown}.{int(record.created * 1000) % 1000:03}Z",
            "level": record.levelname.lower(),
            "actor": self._actor,
            "pid": record.process or os.getpid(),
            "logger": record.name,
            "message": discreet(record.getMessage())[:MESSAGE_CHARS],
        }
        if request is not None:
            told["request_id"] = request
        if (run := getattr(record, "run_id", run)) is not None:
            told["run_id"] = run
        if record.exc_info and record.exc_info[0] is not None:
            # Not `formatException`, which prints: in a worker, Ray's own `print` writes the lines down as tuples.
            whole = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
            told["exception"] = discreet(whole)[-EXCEPTION_CHARS:]
        if dropped:
            told["dropped"] = dropped
        return self._encode(told)


class Pace:
    """Whether one more line may be written now."""

    def __init__(self, most: float = LINES_MAX, per_s: float = LINES_PER_S) -> None:
        self._most, self._per_s, self._left, self._at = most, per_s, most, time.monotonic()

    def allows(self, now: float) -> bool:
        self._left = min(self._most, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class LogFile(logging.Handler):
    """A file of at most `bytes_max`, and `kept` older ones beside it (`.1` is the newest of them). Each line is one write, so that
    it outlives the process. A disk that takes no line is no reason to fail at what is logged: such lines are counted as dropped."""

    def __init__(self, path: Path, formatter: JsonLines, bytes_max: int, kept: int) -> None:
        super().__init__()
        self._path, self._lines, self._bytes_max, self._kept = path, formatter, bytes_max, kept
        self._pace, self._dropped = Pace(), 0
        self._open()

    def filter(self, record: logging.LogRecord) -> bool:
        """Ours, and of others what warns."""
        return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OURS

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        try:
            if not self._pace.allows(time.monotonic()):
                self._dropped += 1
                return
            line = (self._lines.line(record, self._dropped) + "\n").encode("utf-8", "replace")
            if self._size and self._size + len(line) > self._bytes_max:
                self._turn_over()
            os.write(self._file, line)
            self._size += len(line)
            self._dropped = 0
        except Exception:
            self._dropped += 1

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._file, 0o600)
        self._size = os.fstat(self._file).st_size

    def _turn_over(self) -> None:
        full = self._file
        for number in range(self._kept, 0, -1):
            newer = self._path if number == 1 else Path(f"{self._path}.{number - 1}")
            with contextlib.suppress(FileNotFoundError):
                newer.replace(f"{self._path}.{number}")
        if not self._kept:
            self._path.unlink(missing_ok=True)
        self._open()
        os.close(full)

    def close(self) -> None:
        """Nothing waits in memory; harmless twice."""
        super().close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def free_slot(folder: Path, name: str) -> tuple[str, int] | None:
    """A name that no living process logs under, and the lock that says so for as long as it is open; None when all are taken."""
    for number in range(SLOTS):
        slot = name if number == 0 else f"{name}-{number + 1}"
        lock = os.open(folder / f".{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            return slot, lock
    return None


def open_log(actor: str, folder: Path, settings: LogSettings) -> LogFile | None:
    """Log to HOME/logs/ACTOR.jsonl from now on, whatever of this process logs. Without a folder that takes it, and with no slot free, things
    stay as they are: what warns goes to the standard error output."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        slot = free_slot(folder, actor)
        if slot is None:
            logging.getLogger(__name__).warning("%d processes log as %s already: this one keeps no file", SLOTS, actor)
            return None
        file = LogFile(folder / f"{slot[0]}{ENDING}", JsonLines(actor), settings.bytes_max, settings.kept)
    except OSError as error:
        logging.getLogger(__name__).warning("%s keeps no log: %s", actor, error)
        return None
    logging.getLogger().addHandler(file)
    for package in OURS:
        logging.getLogger(package).setLevel(settings.level.upper())
    return file


def begin(actor: str, settings: Settings) -> None:
    """What a shell calls in its `__init__`: see `open_log`. A shell that was made elsewhere than in its instance, such as in a test, keeps
    nothing; a second call is ignored. Never raises."""
    if os.environ.get(_MARK) != settings.ray_dir or any(isinstance(one, LogFile) for one in logging.getLogger().handlers):
        return
    open_log(actor, settings.path("logs"), settings.logs)
