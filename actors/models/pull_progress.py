"""How far a pull is, in a small file that anyone may read: "downloading 34 %"."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from actors.models.weights import write_aside

_EVERY_S = 0.2  # the file is written at most this often


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """`error` is set when the last attempt ended without the weights."""

    phase: Literal["downloading", "verifying", "done", "failed"]
    bytes_done: int
    bytes_total: int
    source: str = ""
    error: str = ""
    at: float = 0.0

    @property
    def share(self) -> float:
        """0 to 1."""
        return min(1.0, self.bytes_done / self.bytes_total) if self.bytes_total else 0.0


def read_progress(path: Path) -> PullProgress | None:
    """What the puller last said; None when there is nothing to read."""
    try:
        return PullProgress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


class ProgressFile:
    """The puller's side. `base` is what files before this one added."""

    def __init__(self, path: Path, bytes_total: int) -> None:
        self._path, self._total = path, bytes_total
        self._written_at = 0.0
        self.base = 0
        self.source = ""

    def at(self, done: int, phase: Literal["downloading", "verifying"] = "downloading") -> None:
        """So many bytes of the present file are there; written when it is time."""
        if time.monotonic() - self._written_at >= _EVERY_S:
            self._write(PullProgress(phase=phase, bytes_done=self.base + done, bytes_total=self._total, source=self.source))

    def finish(self, error: str = "") -> None:
        """The pull ended."""
        done = self.base if error else self._total
        phase = "failed" if error else "done"
        self._write(PullProgress(phase=phase, bytes_done=done, bytes_total=self._total, source=self.source, error=error))

    def _write(self, progress: PullProgress) -> None:
        self._written_at = time.monotonic()
        write_aside(self._path, json.dumps({**asdict(progress), "at": time.time()}), durable=False)
