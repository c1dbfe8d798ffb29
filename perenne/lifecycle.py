"""The birth of an actor's shell, the same for all: ask the Supervisor for `go`, recover, report.

Ray restarts a dead process at once and without limit, so the limit is ours. Nothing is raised from an actor's `__init__`:
Ray would make it DEAD for good. A shell makes one Lifecycle, calls `begin` from `__init__` and `await ready()` first in
every method that needs what `recover` builds.
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from perenne import misfortune, names
from perenne.directory import Directory
from perenne.errors import PerenneError, Unavailable
from perenne.messages.health import ChildState, Go, Health
from perenne.settings import Settings

log = logging.getLogger(__name__)

GO_DEADLINE_S = 1.0  # no answer within this means go, after the local back-off
BACKOFF_WINDOW_S = 60.0  # starts within this count towards the local back-off
BACKOFF_MAX_S = 10.0


def local_backoff_s(starts: list[float], now: float) -> float:
    """How long to wait when nobody can be asked: nothing for the first three starts in a minute, then 0.5 s doubling to 10 s."""
    recent = sum(1 for start in starts if now - start < BACKOFF_WINDOW_S)
    return 0.0 if recent <= 3 else min(BACKOFF_MAX_S, 0.5 * 2 ** (recent - 4))


def _remember_start(path: Path, now: float) -> list[float]:
    try:
        starts = [float(s) for s in json.loads(path.read_text())][-20:]
    except (OSError, ValueError, TypeError):
        starts = []
    starts.append(now)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(starts))
        aside.replace(path)
    except OSError as error:
        log.warning("the start of %s could not be recorded: %s", path.stem, error)
    return starts


class Lifecycle:
    """Runs `recover` (blocking, in a thread of its own) once the Supervisor said go, again with back-off when it raises."""

    def __init__(self, name: str, settings: Settings, directory: Directory, recover: Callable[[], None]) -> None:
        self._name, self._settings, self._directory, self._recover = name, settings, directory, recover
        self._status: ChildState = "starting"
        self._detail = ""
        self._ready = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()
        self._started_at = time.time()

    def begin(self) -> None:
        """Start recovering in the background; returns at once and never raises."""
        threading.Thread(target=self._run, name=f"{self._name}-lifecycle", daemon=True).start()

    def _run(self) -> None:
        starts = _remember_start(self._settings.path("run", "starts", f"{self._name}.json"), time.time())
        self._await_go(starts)
        misfortune.at_go(self._name, self._settings)
        failures = 0
        while True:
            self._status = "recovering"
            try:
                self._recover()
            except Exception as error:  # whatever it is, dying for good is worse: report it and try again
                failures += 1
                self._status, self._detail = "degraded", f"recovery failed: {error}"
                log.exception("%s could not recover (attempt %d)", self._name, failures)
                time.sleep(min(BACKOFF_MAX_S, 0.25 * 2**failures) * random.uniform(0.75, 1.25))
                continue
            self._status, self._detail = "ready", ""
            with self._lock:
                self._ready.set()
                waiting, self._waiting = self._waiting, []
            for loop, bell in waiting:
                with contextlib.suppress(RuntimeError):  # its loop closed meanwhile
                    loop.call_soon_threadsafe(bell.set)
            return

    def _await_go(self, starts: list[float]) -> None:
        while True:
            go = asyncio.run(self._ask())
            if go is None:
                time.sleep(local_backoff_s(starts, time.time()) * random.uniform(0.75, 1.25))
                return
            if go.decision == "go":
                return
            self._status = "held" if go.decision == "held" else "waiting"
            self._detail = go.reason
            time.sleep(max(0.1, go.wait_s))

    async def _ask(self) -> Go | None:
        try:
            return await self._directory.call(
                names.SUPERVISOR, "go", timeout_s=GO_DEADLINE_S, child=self._name, pid=os.getpid()
            )
        except PerenneError:
            return None
        except Exception:  # a Supervisor that fails is none: this thread is all that brings the shell up
            log.exception("the Supervisor could not say whether %s may go", self._name)
            return None

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    async def ready(self, within_s: float = 5.0) -> None:
        """Wait for recovery; Unavailable when it takes longer. Any number may wait: no thread is held."""
        if self._ready.is_set():
            return
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            if self._ready.is_set():
                return
            self._waiting.append(entry)
        try:
            async with asyncio.timeout(within_s):
                await entry[1].wait()
        except TimeoutError:
            raise Unavailable(self._name, 1.0, self._detail or self._status) from None
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._waiting.remove(entry)

    def tell(self, detail: str) -> None:
        """Say how far recovery is."""
        if not self._ready.is_set():
            self._detail = detail

    def degrade(self, detail: str) -> None:
        """Say that it works in part only, and why; an empty detail ends it."""
        if self._ready.is_set():
            self._status, self._detail = ("degraded", detail) if detail else ("ready", "")

    def health(self, *, queue: int = 0, progress_age_s: float = 0.0, **figures: object) -> Health:
        """What the shell's `health` method returns."""
        misfortune.at_health(self._name, self._settings)
        return Health(
            name=self._name,
            status=self._status,
            pid=os.getpid(),
            queue=queue,
            progress_age_s=progress_age_s,
            detail=self._detail,
            started_at=self._started_at,
            figures=dict(figures),
        )
