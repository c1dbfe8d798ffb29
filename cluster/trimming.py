"""Ray's logs, kept within bounds: each worker leaves files of its own, and those of the dead are never read again."""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

_OF_WORKER = re.compile(r"(?:worker-|python-core-worker-|python-core-driver-).*[-_](\d+)\.(?:out|err|log)(?:\.\d+)?")


def logs_folder(ray_dir: str) -> Path:
    return Path(ray_dir, "r", "session_latest", "logs")


def trim(folder: Path, bytes_max: int, alive: Callable[[int], bool]) -> int:
    """Remove files of dead workers, oldest first, until the folder holds no more than this. Returns how many bytes went. Files of the
    living stay: Ray turns those over itself."""
    found: list[tuple[float, int, Path, int | None]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    facts = entry.stat(follow_symlinks=False)
                    match = _OF_WORKER.fullmatch(entry.name)
                    found.append((facts.st_mtime, facts.st_size, Path(entry.path), int(match[1]) if match else None))
    surplus = sum(size for _, size, _, _ in found) - bytes_max
    gone = 0
    for _, size, path, pid in sorted(found, key=lambda file: file[0]):
        if gone >= surplus:
            break
        if pid is not None and not alive(pid):
            with contextlib.suppress(OSError):
                path.unlink()
                gone += size
    return gone
