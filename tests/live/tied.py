"""What ends when this process does, also when this one is killed: a test or a benchmark that runs into a time-out leaves no instance."""

import subprocess
import sys

# It holds the one end of a pipe whose other end only this process has, and knows the other process by its descriptor: ids are used again.
# The kernel's own way, PR_SET_PDEATHSIG, counts the thread that started a process for its parent, and threads end before.
_WATCH = """
import os, signal, sys
held = os.pidfd_open(int(sys.argv[1]))
print(flush=True)
sys.stdin.buffer.read()
try:
    signal.pidfd_send_signal(held, signal.SIGTERM)
except ProcessLookupError:
    pass
"""


class Tied:
    """From now on the process gets SIGTERM when this one ends, or when `loose` is called."""

    def __init__(self, pid: int) -> None:
        self._watcher = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _WATCH, str(pid)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._watcher.stdout is not None
        self._watcher.stdout.readline()

    def loose(self) -> None:
        """End the watch; the process is told to end, should it still be there."""
        self._watcher.communicate(timeout=10)
