"""A child process that ends when its parent does."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_parent() -> None:
    """Ask the kernel to send SIGTERM when the parent dies (Linux; elsewhere nothing happens).

    By prctl(2) the "parent" is the thread that started this process, so that thread must wait for it."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def end_if_orphaned(parent_pid: int) -> None:
    """Close the gap before `end_with_parent` took hold: leave if that parent is gone already."""
    if os.getppid() != parent_pid:
        raise SystemExit(f"the process {parent_pid} that asked for this is gone")
