"""The caps on one parse, and how a process puts them on itself."""

import contextlib
import ctypes
import os
import resource
import signal
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # <linux/sched.h>
_OUTPUT_BYTES_A_CHAR = 8  # UTF-8 with JSON's escapes, and the spans
_OUTPUT_SLACK_BYTES = 16 << 20
_FILES_MAX = 64


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds on one file. Sizes in bytes, times in seconds; the last three are on archives, and hold for all that is nested in one."""

    file_bytes_max: int
    pages_max: int
    text_chars_max: int
    memory_bytes_max: int
    cpu_s_max: float
    wall_s_max: float
    chunk_chars: int = 900
    unpacked_bytes_max: int = 512 << 20
    entries_max: int = 20_000
    nesting_max: int = 3

    @property
    def output_bytes_max(self) -> int:
        """The longest file that a parser may write."""
        return max(self.text_chars_max * _OUTPUT_BYTES_A_CHAR, self.unpacked_bytes_max) + _OUTPUT_SLACK_BYTES


def die_with(parent: int) -> None:
    """End this process when its parent ends, even by SIGKILL (Linux). Raises SystemExit when the parent is gone already."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


def leave_network() -> None:
    """Have no network at all, where the kernel lets an ordinary user do so; a parser needs none."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def yield_to_others() -> None:
    """Low priority: answering comes first."""
    with contextlib.suppress(OSError):
        os.nice(10)


def _limit(kind: int, value: int, slack: int = 0) -> None:
    _, hard = resource.getrlimit(kind)
    ceiling = value + slack if hard == resource.RLIM_INFINITY else min(value + slack, hard)
    resource.setrlimit(kind, (min(value, ceiling), ceiling))


def apply(caps: Caps) -> None:
    """Put the kernel's limits on this process: memory, processor time, output size, open files, no core."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _FILES_MAX)
    _limit(resource.RLIMIT_FSIZE, caps.output_bytes_max)
    _limit(resource.RLIMIT_CPU, max(1, round(caps.cpu_s_max)), slack=2)
    _limit(resource.RLIMIT_AS, caps.memory_bytes_max)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write over the cap is then OSError EFBIG, with a sentence
