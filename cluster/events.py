"""What the Supervisor saw and did, for the owner and for alerts: numbered, in HOME/run/events.jsonl, the last EVENTS_KEPT of them."""

import json
import logging
import os
import threading
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path

from perenne.api import decode
from perenne.messages.health import EventKind, SupervisionEvent

log = logging.getLogger(__name__)

EVENTS_KEPT = 1_000
_GOOD = ("started", "stopped", "group_recovered", "disk_recovered", "memory_recovered")
_LINES_MAX = 2 * EVENTS_KEPT  # in the file; then it is written anew


class EventLog:
    """Noted in memory at once, from any thread; on disk once `flush` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._events: deque[SupervisionEvent] = deque(maxlen=EVENTS_KEPT)
        self._waiting: list[SupervisionEvent] = []
        self._lines = 0
        self._read()

    def _read(self) -> None:
        try:
            lines = self._path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("earlier events can't be read: %s", error)
            return
        self._lines = len(lines)
        for line in lines:
            try:
                self._events.append(decode(SupervisionEvent, json.loads(line)))
            except Exception:  # torn by a power cut, or of another version
                log.info("an event can't be read: %r", line[:200])

    def note(
        self, kind: EventKind, subject: str, detail: str = "", *, until: float = 0.0, quiet_s: float = 0.0, record: str = ""
    ) -> SupervisionEvent | None:
        """Add one; None when the same was noted less than `quiet_s` ago."""
        now = time.time()
        with self._lock:
            if quiet_s and any(
                (event.kind, event.subject) == (kind, subject) and 0 <= now - event.at < quiet_s
                for event in reversed(self._events)
            ):
                return None
            seq = self._events[-1].seq + 1 if self._events else 1
            event = SupervisionEvent(seq=seq, at=now, kind=kind, subject=subject, detail=detail, until=until, record=record)
            self._events.append(event)
            self._waiting.append(event)
        log.log(logging.INFO if kind in _GOOD else logging.WARNING, "%s %s: %s", kind, subject, detail)
        return event

    def after(self, seq: int) -> tuple[SupervisionEvent, ...]:
        """Those with a higher number, oldest first; at most the EVENTS_KEPT last ones."""
        with self._lock:
            return tuple(event for event in self._events if event.seq > seq)

    def flush(self) -> None:
        """Put what was noted on disk. Raises OSError when the disk does not take it: then it is tried again at the next flush."""
        with self._writing:
            with self._lock:
                waiting, kept = list(self._waiting), list(self._events)
            if not waiting:
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._lines + len(waiting) > _LINES_MAX or not self._path.exists():
                aside = self._path.with_suffix(".new")
                _write(aside, kept, "w")
                aside.replace(self._path)
                self._lines = len(kept)
            else:
                _write(self._path, waiting, "a")
                self._lines += len(waiting)
            with self._lock:
                del self._waiting[: len(waiting)]


def _write(path: Path, events: list[SupervisionEvent], mode: str) -> None:
    with open(path, mode, encoding="utf-8") as file:
        if mode == "a" and file.tell() and not _ends_whole(path):
            file.write("\n")
        file.write("".join(json.dumps(asdict(event)) + "\n" for event in events))
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
