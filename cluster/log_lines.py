"""The JSON lines of HOME/logs (`perenne.logs`), read: those of all processes as one, in the order of time."""

import contextlib
import heapq
import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perenne.logs import ENDING

LEVELS = ("debug", "info", "warning", "error", "critical")
_NAME = re.compile(rf".+{re.escape(ENDING)}(?:\.(\d+))?")
_TAIL_BYTES = 256 << 10
_SORTED_WITHIN = 64  # lines of one file: threads may write in another order than they were timed in


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line. `raw` is how it stands in its file."""

    time: str
    level: str
    actor: str
    pid: int
    logger: str
    message: str
    request_id: str | None
    run_id: str | None
    exception: str | None
    raw: str


def log_files(folder: Path) -> list[Path]:
    """Those of each process, full ones included, the oldest of each first."""
    found: list[tuple[str, int, Path]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if match := _NAME.fullmatch(entry.name):
                number = int(match[1] or 0)
                found.append((entry.name.removesuffix(f".{number}"), -number, Path(entry.path)))
    return [path for _, _, path in sorted(found)]


def parsed(raw: str) -> LogLine | None:
    """None for what is no line of ours, such as the rest of one that a full disk cut."""
    try:
        told: dict[str, Any] = json.loads(raw)
        return LogLine(
            time=str(told["time"]),
            level=str(told["level"]),
            actor=str(told["actor"]),
            pid=int(told["pid"]),
            logger=str(told["logger"]),
            message=str(told["message"]),
            request_id=told.get("request_id"),
            run_id=told.get("run_id"),
            exception=told.get("exception"),
            raw=raw,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def read_lines(path: Path, having: Collection[str] = ()) -> Iterator[LogLine]:
    """Those of a file in which one of these stands, or all, by time; none when it can't be read."""
    held: list[tuple[str, int, LogLine]] = []
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        for number, raw in enumerate(file):
            if having and not any(one in raw for one in having):  # most lines need not be taken apart
                continue
            if (line := parsed(raw.rstrip("\n"))) is not None:
                heapq.heappush(held, (line.time, number, line))
                if len(held) > _SORTED_WITHIN:
                    yield heapq.heappop(held)[2]
    while held:
        yield heapq.heappop(held)[2]


def merged(folder: Path, having: Collection[str] = ()) -> Iterator[LogLine]:
    """The lines of all processes, by time; see `read_lines`."""
    yield from heapq.merge(*(read_lines(path, having) for path in log_files(folder)), key=lambda line: line.time)


def last_of(path: Path, most: int, wanted: Callable[[LogLine], bool] = lambda _: True) -> list[LogLine]:
    """The last lines near the end of a file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = (parsed(raw) for raw in text.splitlines())
    return [line for line in lines if line is not None and wanted(line)][-most:]


def runs_of(folder: Path, request_id: str) -> frozenset[str]:
    """The runs that this request began: work on them may go on under another request, or none, after a death."""
    return frozenset(line.run_id for line in merged(folder, (request_id,)) if line.request_id == request_id and line.run_id)
