"""What this run of the control plane was given: each child's spec hash, and when Serve got its applications. On disk, for a
Supervisor that was restarted, and for the first one: the igniter hands the applications over while the Supervisor starts."""

import json
import threading
import time
from typing import Any

from cluster import spawning
from perenne.settings import Settings

_SERVE = "Serve"


class Applied:
    """Read once, written at each change, asked from memory. Several threads may note."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.path("run", "specs.json")
        self._specs: dict[str, str] = {}
        self._lock = threading.Lock()

    def read(self) -> None:
        """What was applied since this control plane began; nothing of an earlier one."""
        try:
            held: dict[str, Any] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return
        if held.get("session") == spawning.session():
            self._specs = dict(held["specs"])

    def hash(self, child: str) -> str | None:
        return self._specs.get(child)

    def note(self, child: str, spec: str) -> None:
        """The child runs, or was asked to run, from this spec."""
        if self._specs.get(child) != spec:
            self._write({child: spec})

    @property
    def serve_begun(self) -> bool:
        """Whether Serve was ever given an application."""
        return _SERVE in self._specs

    @property
    def deployed_at(self) -> float:
        """When Serve was last given an application, on the monotonic clock; 0 when never."""
        try:
            age_s = max(0.0, time.time() - float(self._specs[_SERVE]))
        except (KeyError, ValueError):
            return 0.0
        return time.monotonic() - age_s

    def note_deploying(self, specs: dict[str, str]) -> None:
        """Serve is being given these applications now."""
        self._write({**specs, _SERVE: str(time.time())})

    def _write(self, more: dict[str, str]) -> None:
        with self._lock:
            self._specs |= more
            aside = self._path.with_suffix(".new")
            aside.write_text(json.dumps({"session": spawning.session(), "specs": self._specs}))
            aside.replace(self._path)
