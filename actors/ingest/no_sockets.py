"""A process that can open no socket of any kind for the rest of its life, and its children neither (Linux, seccomp).

Beside `caps.leave_network`, which a kernel may refuse an ordinary user (Ubuntu does); this it never does."""

import ctypes
import errno
import platform
import struct
from typing import Final

# <linux/audit.h>, and socket's number in <asm/unistd.h>, by `platform.machine()`.
_MACHINES: Final = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP, _X32 = 425, 0x40000000  # ways round the number of `socket`
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2  # <linux/prctl.h>, <linux/seccomp.h>
_ALLOW = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EPERM
KILL: Final = 0x80000000  # for tests: an attempt ends the process with SIGSYS
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # <linux/bpf_common.h>


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def no_sockets(otherwise: int = REFUSE) -> bool:
    """Whether the kernel took it: from then on `socket` is refused. Needs no privilege, and cannot be taken back."""
    known = _MACHINES.get(platform.machine())
    if platform.system() != "Linux" or known is None:
        return False
    arch, socket = known
    lines = (
        (_LOAD, 0, 0, 4),  # the architecture of the call
        (_EQUAL, 0, 5, arch),
        (_LOAD, 0, 0, 0),  # its number
        (_EQUAL, 3, 0, socket),
        (_EQUAL, 2, 0, _IO_URING_SETUP),
        (_AT_LEAST, 1, 0, _X32),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, otherwise),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = _Program(len(lines), ctypes.cast(code, ctypes.c_void_p))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0
