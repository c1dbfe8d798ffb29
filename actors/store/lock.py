"""One writer at a time: a lock that its process holds and the kernel drops when the process dies."""

import fcntl
import os
from pathlib import Path

from perenne.errors import Unavailable


class WriterLock:
    """An advisory lock on a file beside the database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise Unavailable, saying which process has it."""
        if self._fd is not None:
            return
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise Unavailable("the database", 1.0, f"process {holder} writes to it already") from error
        self._fd = fd
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock up. Harmless twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
